package probe

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The names of the wires.
const (
	wireH2 = "h2"
	wirePW = "pw/1"
)

// The kinds of security.
const (
	peerCred  = "peercred"
	mutual    = "mtls"
	unsecured = "" // of a plugin on go-plugin without a certificate
)

// choose takes what the scene wants of the offer, and listens.
func (p *player) choose() error {
	foreign := p.scene.Foreign || !p.offer.Plugwire
	if !p.offer.Plugwire && !p.scene.Foreign {
		return skip("the host sends no %s", EnvOffer)
	}
	have := []string{"unix", "tcp"}
	if !hasUnix {
		have = have[1:]
	}
	offered := p.offer.Transports(p.env, foreign)
	var err error
	if p.transport, err = first("transport", p.scene.Transport, offered, have); err != nil {
		return err
	}
	p.wire = wireH2
	if !foreign {
		wire := p.scene.Wire
		if wire == "" {
			wire = wireH2
		}
		if p.wire, err = first("wire", wire, p.offer.List("wires", wireH2), []string{wireH2, wirePW}); err != nil {
			return err
		}
		if _, err = first("session", "direct", p.offer.List("sessions", "direct"), []string{"direct"}); err != nil {
			return err
		}
	}
	if p.hosts, err = p.hostCertificate(); err != nil {
		return err
	}
	if err := p.chooseSecurity(foreign); err != nil {
		return err
	}
	asked, err := strconv.ParseBool(p.env.Get(EnvMultiplex))
	p.multiplexed = err == nil && asked && foreign && !p.scene.NoMultiplex
	if p.security == mutual {
		if p.own, err = newCertificate(p.scene.Curve); err != nil {
			return err
		}
		p.served = p.own
		if p.scene.Start == OtherCert {
			if p.served, err = newCertificate(p.scene.Curve); err != nil {
				return err
			}
		}
	}
	return p.listen()
}

// first returns the wanted item if both sides have it, or the first that both have.
func first(what, wanted string, offered, have []string) (string, error) {
	for _, item := range offered {
		if slices.Contains(have, item) && (wanted == "" || item == wanted) {
			return item, nil
		}
	}
	if wanted != "" {
		return "", skip("the host does not offer the %s %s", what, wanted)
	}
	return "", skip("the host offers the %s %s, and the probe has only %s", what, strings.Join(offered, ", "), strings.Join(have, ", "))
}

func (p *player) chooseSecurity(foreign bool) error {
	want := p.scene.Security
	if foreign {
		p.security = unsecured
		if p.hosts != nil && want != "none" {
			p.security = mutual
		}
	} else {
		have := []string{mutual}
		if p.hosts == nil {
			have = nil
		}
		if p.transport == "unix" && hasPeerCred {
			have = append(have, peerCred)
		}
		var err error
		if p.security, err = first("security", want, p.offer.List("security", mutual), have); err != nil {
			return err
		}
	}
	if want == mutual && p.security != mutual {
		return skip("the host sends no %s", EnvClientCert)
	}
	return nil
}

// listen opens the listener.
func (p *player) listen() (err error) {
	if p.transport == "tcp" {
		p.listener, err = listenPort(p.env.Get(EnvMinPort), p.env.Get(EnvMaxPort))
	} else {
		dir := p.env.Get(EnvSocketDir)
		if dir == "" || p.scene.Foreign {
			dir = filepath.Dir(p.scene.Control)
		}
		p.listener, err = net.Listen("unix", filepath.Join(dir, "plugin-"+strconv.Itoa(os.Getpid()))) //nolint:noctx // it does not wait
	}
	if err == nil {
		p.address = p.listener.Addr().String()
	}
	return err
}

// portAttempts bounds the search for a free port.
const portAttempts = 1000

// listenPort listens on a free port of the range that the host gives.
func listenPort(lowest, highest string) (net.Listener, error) {
	low, lowErr := strconv.Atoi(lowest)
	high, highErr := strconv.Atoi(highest)
	if lowErr != nil || highErr != nil || high == 0 || high < low {
		return net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	}
	offset := os.Getpid() % (high - low + 1) // probes of other scenes look for a port too
	var errs error
	for i := range min(high-low+1, portAttempts) {
		port := low + (offset+i)%(high-low+1)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // it does not wait
		if err == nil {
			return ln, nil
		}
		errs = err
	}
	return nil, errors.Join(fmt.Errorf("no free port from %d to %d", low, high), errs)
}

// answer returns the line, without its end.
func (p *player) answer() string {
	version := 1
	if versions := p.env.Versions(); len(versions) > 0 {
		version = slices.Max(versions)
	}
	cert := ""
	if p.own != nil {
		cert = encodeCert(p.own.Certificate[0])
	}
	core := []string{"1", strconv.Itoa(version), p.transport, p.address, "grpc", cert}
	foreign := p.scene.Foreign || !p.offer.Plugwire
	switch {
	case !foreign:
		core = append(core, "")
	case p.env.Get(EnvMultiplex) != "":
		core = append(core, strconv.FormatBool(p.multiplexed))
	}
	var edited []string
	for i, value := range core {
		if edit, ok := p.scene.Edits[strconv.Itoa(i+1)]; ok {
			value = p.expand(edit)
		}
		edited = append(edited, value)
	}
	line := strings.Join(edited, "|")
	if !foreign {
		line += "|" + strings.Join(p.fields(), "|")
	}
	return line + p.expand(p.scene.Extra)
}

// fields returns the extended fields of the answer.
func (p *player) fields() []string {
	type field struct{ key, value string }
	all := []field{
		{"instance", p.offer.Get("instance")},
		{"protocol", p.offer.Get("protocol")},
		{"transport", p.transport + "/1"},
		{"session", "direct"},
		{"wire", p.wire},
		{"security", p.security},
		{"preamble", "2"},
	}
	if p.scene.Extras == Ready || p.scene.Extras == NotReady {
		all = append(all, field{"ready", "1"})
	}
	var written []string
	for _, f := range all {
		if edit, ok := p.scene.Edits[f.key]; ok {
			f.value = p.expand(edit)
		}
		if f.value != omitted && f.value != "" {
			written = append(written, f.key+"="+Escape(f.value))
		}
	}
	return written
}

// omitted is the value of a field that is left out.
const omitted = "-"

func encodeCert(der []byte) string { return base64.RawStdEncoding.EncodeToString(der) }

// maxReported is how much of what the probe prints is reported.
const maxReported = 4096

// The sizes of what {long} and {huge} stand for: a line of the first is above the limit for
// an answer, and one of the second is above all buffers.
const (
	longSize = 70_000
	hugeSize = 1 << 20
)

// expand replaces the parts in braces.
func (p *player) expand(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	other := ""
	if strings.Contains(text, "{othercert}") {
		if cert, err := newCertificate(""); err == nil { // the system's random numbers never fail
			other = encodeCert(cert.Certificate[0])
		}
	}
	cert := other
	if p.own != nil {
		cert = encodeCert(p.own.Certificate[0])
	}
	padded := cert + strings.Repeat("=", -len(cert)&3)
	version := 1
	unoffered := 1
	for versions := p.env.Versions(); slices.Contains(versions, unoffered); {
		unoffered++
	}
	if versions := p.env.Versions(); len(versions) > 0 {
		version = slices.Max(versions)
	}
	return strings.NewReplacer(
		"{instance}", Escape(p.offer.Get("instance")), "{address}", p.address, "{network}", p.transport,
		"{cert}", cert, "{padded}", padded, "{othercert}", other,
		"{version}", strconv.Itoa(version), "{unoffered}", strconv.Itoa(unoffered),
		"{long}", strings.Repeat("x", longSize), "{huge}", strings.Repeat("x", hugeSize),
	).Replace(text)
}

// print prints what the scene wants before the connections.
func (p *player) print() error {
	parts := p.scene.Print
	if parts == nil {
		parts = []string{"{answer}\n"}
		if !p.scene.Foreign {
			parts[0] = "\n" + parts[0]
		}
	}
	for _, part := range parts {
		text := p.expand(strings.ReplaceAll(part, "{answer}", p.answer()))
		p.report.event(Event{Kind: Printed, Text: text[:min(len(text), maxReported)]})
		if _, err := os.Stdout.WriteString(text); err != nil {
			return err
		}
	}
	if p.scene.CloseOutput {
		return os.Stdout.Close()
	}
	return nil
}

func (p *player) hostCertificate() (*x509.Certificate, error) {
	text := p.env.Get(EnvClientCert)
	if text == "" {
		return nil, nil
	}
	cert, err := ParseClientCert(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", EnvClientCert, err)
	}
	return cert, nil
}
