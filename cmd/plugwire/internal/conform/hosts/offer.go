package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// leaks are variables in the host's environment that must not reach its plugin as they are.
var leaks = []string{
	probe.EnvOffer + "=instance=OFANOTHERHOST|transports=unix/1",
	probe.EnvClientCert + "=of another host",
	probe.EnvMultiplex + "=conform",
	probe.EnvSocketDir + "=/nonexistent/conform",
	"PLUGIN_UNIX_SOCKET_GROUP=conform",
	probe.EnvTransports + "=conform",
	probe.EnvMinPort + "=11111",
	probe.EnvMaxPort + "=11112",
	probe.EnvVersions + "=99999",
	"PLUGWIRE_CONFORM_MARK=conform",
}

// secretInput is what is on the host's standard input.
const secretInput = "for the host"

// nested is a host that is a plugin itself, with an input of its own.
func nested() stage {
	st := foreign(nil)
	st.env, st.stdin = leaks, secretInput
	return st
}

// offerRules are about what the plugin finds when it starts.
func (s *suite) offerRules() []*rule {
	return []*rule{
		{
			section: "protocol 2", name: "cookie", profiles: everyHost, stage: plain.stage, loose: true,
			title: "The plugin's environment has the cookie with its value.",
			judge: s.cookieIsThere,
		},
		{
			section: "protocol 2", name: "versions", profiles: everyHost, stage: plain.stage, loose: true,
			title: "PLUGIN_PROTOCOL_VERSIONS has decimal numbers with commas between them.",
			judge: versionsAreNumbers,
		},
		{
			section: "protocol 2", name: "ports", profiles: goPluginHost, stage: plain.stage, loose: true,
			title: "PLUGIN_MIN_PORT and PLUGIN_MAX_PORT are numbers from 0 to 65535, in order.",
			judge: portsAreNumbers,
		},
		{
			section: "protocol 2", name: "certificate", profiles: everyHost, stage: plain.stage, loose: true,
			title: "PLUGIN_CLIENT_CERT, if it is there, is one certificate in PEM.",
			judge: func(r *record) error {
				_, err := hostCertificate(r)
				return err
			},
		},
		{
			section: "protocol 2", name: "not-passed-on", stage: nested(), loose: true,
			title: "Variables of another host, whose plugin the host is, are not passed on.",
			judge: nothingIsPassedOn,
		},
		{
			section: "protocol 2", name: "standard-input", stage: nested(), loose: true,
			title: "The plugin's standard input is not the host's.",
			judge: func(r *record) error {
				if e, ok := r.find(probe.Seen, "stdin "); ok {
					return conform.Fail("the null device", "the plugin read "+strconv.Quote(strings.TrimPrefix(e.Text, "stdin ")), "open the null device for the plugin")
				}
				return nil
			},
		},
		{
			section: "protocol 2", name: "socket-directory", stage: plain.stage, loose: true,
			title: "PLUGIN_UNIX_SOCKET_DIR, if it is there, is a directory of mode 0700 with an absolute path.",
			judge: func(r *record) error {
				if r.env().Get(probe.EnvSocketDir) == "" {
					return conform.NotApplicable("the host sends no %s", probe.EnvSocketDir)
				}
				if wrong := r.plugin().process.SocketDir; wrong != "" {
					return conform.Fail("a directory of mode 0700 with an absolute path", wrong, "make the directory before the start, with mode 0700")
				}
				return nil
			},
		},
		{
			section: "protocol 4", name: "well-formed", stage: plain.stage, loose: true,
			title: "PLUGWIRE_OFFER has fields as the grammar says, with an instance, and marks none of them.",
			judge: offerIsWellFormed,
		},
		{
			section: "protocol 4", name: "new-instance", stage: plain.stage, loose: true, needs: right,
			title: "Each start has an instance of its own, of at least 64 bits.",
			judge: s.instanceIsNew,
		},
		{
			section: "protocol 10", name: "certificate", stage: plain.stage, loose: true,
			title: "The host's certificate is one that every TLS stack takes.",
			judge: certificateIsRight,
		},
		{
			section: "protocol 13", name: "session", stage: right.stage,
			title: "On Unix, the plugin leads a session of its own.",
			judge: func(r *record) error {
				p := r.plugin().process
				if !p.Known {
					return conform.NotApplicable("this system has no sessions")
				}
				if !p.Leader {
					return conform.Fail("a session of its own", "the plugin is in the session of another process", "start the plugin with setsid")
				}
				return nil
			},
		},
		{
			section: "protocol 13", name: "descriptors", stage: plain.stage, loose: true,
			title: "The descriptors of lifeline and leash are pipes, and those of identities.",
			judge: func(r *record) error {
				if o := r.offer(); !o.Has("lifeline") && !o.Has("leash") {
					return conform.NotApplicable("the host offers neither a lifeline nor a leash")
				}
				if wrong := r.plugin().process.Pipes; len(wrong) > 0 {
					return conform.Fail("the read ends of pipes", strings.Join(wrong, "; "), "compare the numbers in the offer with what the plugin inherits")
				}
				return nil
			},
		},
	}
}

func (s *suite) cookieIsThere(r *record) error {
	value, ok := r.env().Lookup(s.cookieName)
	if ok && value == s.cookieValue {
		return nil
	}
	seen := s.cookieName + " is not there"
	if ok {
		seen = fmt.Sprintf("%s=%s", s.cookieName, value)
	}
	return conform.Fail(s.cookieName+"="+s.cookieValue, seen, "set the cookie, or name it with -cookie or -preset if the host has another one")
}

func versionsAreNumbers(r *record) error {
	text, ok := r.env().Lookup(probe.EnvVersions)
	if !ok || text == "" {
		return conform.Fail(probe.EnvVersions+" with the versions that the host has", "it is not there", "set it, such as "+probe.EnvVersions+"=1,2")
	}
	for item := range strings.SplitSeq(text, ",") {
		if v, err := strconv.Atoi(item); err != nil || v < 0 {
			return conform.Fail("decimal numbers with commas between them", fmt.Sprintf("%s=%s", probe.EnvVersions, text), "plugins skip what is not a number")
		}
	}
	return nil
}

func portsAreNumbers(r *record) error {
	var ports []int
	for _, name := range []string{probe.EnvMinPort, probe.EnvMaxPort} {
		text := r.env().Get(name)
		port, err := strconv.Atoi(text)
		if err != nil || port < 0 || port > 65535 {
			return conform.Fail("a number from 0 to 65535", fmt.Sprintf("%s=%q", name, text), "set both, to 0 for any port")
		}
		ports = append(ports, port)
	}
	if ports[0] > ports[1] {
		return conform.Fail("a lowest and a highest port", fmt.Sprintf("%d and %d", ports[0], ports[1]), "exchange the two")
	}
	return nil
}

func nothingIsPassedOn(r *record) error {
	env := r.env()
	for _, entry := range leaks {
		name, value, _ := strings.Cut(entry, "=")
		if got, ok := env.Lookup(name); ok && got == value {
			return conform.Fail("none of the variables of section 2 in the host's environment, nor others that begin with PLUGWIRE_, reach the plugin",
				fmt.Sprintf("%s=%s", name, value), "leave these variables out of the plugin's environment, and then add the host's own")
		}
	}
	if _, ok := env.Lookup(EnvPlugin); ok {
		return conform.Fail("no variable whose name begins with PLUGWIRE_ is passed on", EnvPlugin+" was", "leave these variables out of the plugin's environment")
	}
	return nil
}

// offerFields are the forms of the fields of an offer. The plain ones are lists or names.
var offerFields = map[string]*regexp.Regexp{
	"protocol":   regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,255}$`),
	"transports": regexp.MustCompile(`^([a-z][a-z0-9-]{0,31}/[1-9][0-9]*(,|$))*$`),
	"loglevel":   regexp.MustCompile(`^(trace|debug|info|warn|error)$`),
	"lifeline":   regexp.MustCompile(`^[0-9]{1,5}$`),
	"leash":      regexp.MustCompile(`^[0-9]{1,5}$`),
	"host":       regexp.MustCompile(`^[1-9][0-9]{0,9}$`),
	"files":      regexp.MustCompile(`^([a-z][a-z0-9-]{0,31}:[0-9]{1,5}(\+[0-9]{1,5}){0,7}(,|$))*$`),
	"identities": regexp.MustCompile(`^([0-9]{1,5}:[0-9]{1,20}:[0-9]{1,20}(,|$))*$`),
}

func offerIsWellFormed(r *record) error {
	text := r.env().Get(probe.EnvOffer)
	o, err := probe.ParseOffer(r.env())
	switch {
	case err != nil:
		return conform.Fail("fields as in section 3, with an instance", err.Error(), "the whole offer is "+text)
	case !o.Plugwire:
		return conform.NotApplicable("the host sends no %s", probe.EnvOffer)
	case len(o.Marked) > 0:
		return conform.Fail("no field that must be understood: the first release has none", "!"+o.Marked[0], "no plugin understands it, and all refuse")
	}
	for key, form := range offerFields {
		if value := o.Get(key); o.Has(key) && !form.MatchString(value) {
			return conform.Fail("the form of section 4", fmt.Sprintf("%s=%s", key, value), "see the table of the section")
		}
	}
	return nil
}

// minInstance is how many characters 64 random bits have at least, in base64.
const minInstance = 11

func (s *suite) instanceIsNew(r *record) error {
	instance := r.offer().Get("instance")
	if len(instance) < minInstance {
		return conform.Fail("at least 64 random bits", fmt.Sprintf("the instance %q of %d characters", instance, len(instance)), "make a longer one")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, shared := range s.runs {
		select {
		case <-shared.done:
		default:
			continue
		}
		if other := shared.record; other != nil && other != r && other.offer().Get("instance") == instance {
			return conform.Fail("another instance for each start", "two starts had "+instance, "make a random one for each start")
		}
	}
	return nil
}

// hostCertificate returns the host's certificate, or that it has none.
func hostCertificate(r *record) (*x509.Certificate, error) {
	text := r.env().Get(probe.EnvClientCert)
	if text == "" {
		return nil, conform.NotApplicable("the host sends no %s", probe.EnvClientCert)
	}
	cert, err := probe.ParseClientCert(text)
	if err != nil {
		return nil, conform.Fail("one certificate in PEM, with its line breaks", err.Error(), "the value must be the PEM block as it is in a file")
	}
	return cert, nil
}

func certificateIsRight(r *record) error {
	cert, err := hostCertificate(r)
	if err != nil {
		return err
	}
	fail := func(expected, seen string) error {
		return conform.Fail(expected, seen, "see the table of certificates in section 10")
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	switch now := time.Now(); {
	case !ok:
		return fail("an ECDSA key on P-256", cert.PublicKeyAlgorithm.String())
	case key.Curve != elliptic.P256():
		return fail("an ECDSA key on P-256, which BoringSSL takes too", key.Curve.Params().Name)
	case len(cert.DNSNames) != 1 || cert.DNSNames[0] != "localhost":
		return fail("the name localhost", fmt.Sprintf("the names %q", cert.DNSNames))
	case now.Before(cert.NotBefore) || now.AddDate(1, 0, 0).After(cert.NotAfter):
		return fail("validity from before now for the life of the process", fmt.Sprintf("%v to %v", cert.NotBefore, cert.NotAfter))
	case !cert.IsCA:
		return fail("basic constraints with CA", "none: peers put the certificate into a pool of roots")
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return fail("extended key usage clientAuth and serverAuth", fmt.Sprint(cert.ExtKeyUsage))
	}
	return nil
}

// directoryIsRemoved returns a failure if the host has left the directory for sockets.
func directoryIsRemoved(r *record) error {
	dir := r.env().Get(probe.EnvSocketDir)
	if dir == "" {
		return conform.NotApplicable("the host sends no %s", probe.EnvSocketDir)
	}
	if r.directoryLeft {
		return conform.Fail("the directory for sockets is removed when the plugin has ended", dir+" is left", "remove it with everything in it")
	}
	return nil
}
