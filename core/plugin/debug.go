package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/process"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// debugger is for a plugin that a person has started, and that serves the hosts that
// attach to it. It makes the offer that a host would have made, and turns the answer into
// what a host needs to attach.
type debugger struct {
	goPlugin bool // serve hosts on go-plugin
	cfg      *config
	family   protocol.Family
	offer    *negotiation.Offer
	identity *secure.Identity // the certificate and key that every host uses
	out      io.Writer        // text for the shell
	help     io.Writer        // text for the person
}

// debugMode returns the value of PLUGWIRE_DEBUG in a process that no host has started. It
// returns nothing under a host: a host of another framework passes its own environment on.
func debugMode(cfg *config) string {
	if cookie, ok := cfg.lookupEnv(cfg.cookie.Name); ok && cookie == cfg.cookie.Value {
		return ""
	}
	mode, _ := cfg.lookupEnv(negotiation.EnvDebug)
	if on, err := strconv.ParseBool(mode); err == nil && !on {
		return ""
	}
	return mode
}

// serveDebug serves binding to the hosts that attach, until SIGINT or SIGTERM.
func serveDebug(mode string, cfg *config, binding protocol.Binding, opts []Option) (err error) {
	d := &debugger{cfg: cfg, goPlugin: mode == negotiation.DebugGoPlugin, out: os.Stdout, help: os.Stderr}
	if on, err := strconv.ParseBool(mode); !d.goPlugin && (err != nil || !on) {
		return fmt.Errorf("%s=%s: want 1, or %s to serve hosts on go-plugin", negotiation.EnvDebug, mode, negotiation.DebugGoPlugin)
	}
	families, err := binding.Families()
	if err != nil {
		return err
	}
	d.family = families[0] // a host that attaches does not ask for a protocol
	if err := d.makeOffer(); err != nil {
		return err
	}
	if privdir.Supported {
		switch dir, dirErr := privdir.New(nil); {
		case dirErr == nil:
			defer func() { err = errors.Join(err, dir.Close()) }()
			dir.Look()
			dir.Sweep()
			d.offer.SocketDir = dir.Path()
		case slices.ContainsFunc(cfg.transports, usesDir):
			return dirErr
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	// These come before the user's options, which may set a logger too.
	own := []Option{WithLogger(logs.ForPeople(os.Stderr, slog.LevelDebug))}
	err = serve(ctx, binding, slices.Concat(own, opts, []Option{optionFunc(func(cfg *config) error {
		cfg.lookupEnv, cfg.answer, cfg.debug = d.lookup(), d, true // these replace the user's
		return nil
	})}), func(bool) {})
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return refused.err // no host has read the answer
	}
	return err
}

// makeOffer makes the offer of a host that has all that this plugin has. A person may set
// the variables that only hosts on go-plugin set, such as a range of ports.
func (d *debugger) makeOffer() error {
	byHand := func(name string) (string, bool) {
		switch name {
		case d.cfg.cookie.Name:
			return d.cfg.cookie.Value, true
		case negotiation.EnvVersions, negotiation.EnvMinPort, negotiation.EnvMaxPort:
			return d.cfg.lookupEnv(name)
		default:
			return "", false
		}
	}
	offer, err := negotiation.ParseOffer(byHand, d.cfg.cookie, goruntime.GOOS)
	if err != nil {
		return err
	}
	d.offer = offer
	have := d.family.Versions()
	if asked, _ := byHand(negotiation.EnvVersions); asked == "" {
		offer.Versions = have
	} else if !slices.ContainsFunc(offer.Versions, func(v int) bool { return slices.Contains(have, v) }) {
		return fmt.Errorf("%s=%s: this plugin serves %s", negotiation.EnvVersions, asked, d.family)
	}
	if d.goPlugin {
		// This is unix, or TCP on systems where such a host has nothing else. TCP beside
		// unix would open the plugin to every user of the machine for no gain.
		offer.Transports = offer.Transports[:1]
		return nil
	}
	if d.identity, err = secure.NewIdentity(); err != nil {
		return err
	}
	offer.ClientCert = d.identity.PEM()
	offer.Transports = d.transports()
	offer.Plugwire = true
	offer.Callbacks = true // a host that attaches always opens the stream for callbacks
	offer.Protocol = d.family.Name()
	offer.Sessions = []string{handshake.SessionDirect, handshake.SessionYamux, handshake.SessionNative}
	offer.Wires = d.cfg.wires
	offer.Security = d.security()
	offer.Instance = "debug"
	return nil
}

func usesDir(t transport.Transport) bool {
	d, ok := t.(transport.DirUser)
	return ok && d.UsesDir()
}

// transports returns the plugin's transports in its own order, without those whose
// connection is made at the start of a process.
func (d *debugger) transports() []transport.ID {
	var set transport.Set
	for _, t := range d.cfg.transports {
		if _, prepared := t.(transport.Preparer); !prepared {
			set = append(set, t)
		}
	}
	return set.IDs()
}

func (d *debugger) security() []string {
	switch {
	case d.cfg.tls != nil:
		return []string{handshake.SecurityTLS}
	case secure.PeerCredSupported:
		return []string{handshake.SecurityPeerCred, handshake.SecurityMTLS}
	default:
		return []string{handshake.SecurityMTLS}
	}
}

// lookup returns a function that finds the variables of the offer only.
func (d *debugger) lookup() func(string) (string, bool) {
	env := make(map[string]string)
	for _, variable := range d.offer.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

// Write takes the answer, and prints what a host needs to attach.
func (d *debugger) Write(line []byte) (int, error) {
	answer, err := negotiation.ParseAnswer(string(line), d.offer.Instance)
	if err != nil {
		return 0, err
	}
	if answer.Refusal == nil { // otherwise serveDebug returns the refusal
		err = d.serving(answer)
	}
	return len(line), err
}

// serving prints how a host attaches.
func (d *debugger) serving(answer *negotiation.Answer) error {
	info, err := d.info(answer)
	if err != nil {
		return err
	}
	return d.print(info)
}

func (d *debugger) info(answer *negotiation.Answer) (handshake.AttachInfo, error) {
	info := handshake.AttachInfo{
		Foreign: d.goPlugin, Protocol: d.family.Name(), Version: answer.Version, Transport: answer.Transport, Address: answer.Address,
		Session: answer.Session, Wire: answer.Wire, Security: answer.Security, Preamble: answer.Preamble, Cert: answer.Cert,
		PID: os.Getpid(), Stays: true,
	}
	// Without the start time a host does not notice the end of this process, only the end
	// of the connection.
	info.Started, _ = process.StartTime(info.PID)
	if answer.Security != handshake.SecurityMTLS {
		return info, nil
	}
	var err error
	info.HostCert = d.identity.DER()
	info.HostKey, err = d.identity.KeyDER()
	return info, err
}

func (d *debugger) print(info handshake.AttachInfo) error {
	served := fmt.Sprintf("%s version %d, process %d, until Ctrl-C.", info.Protocol, info.Version, info.PID)
	if d.goPlugin {
		text, err := info.MarshalJSON()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(d.help, "%s Hosts on go-plugin attach with this ReattachConfig, Terraform by TF_REATTACH_PROVIDERS='{\"ADDRESS/OF/PROVIDER\":...}':\n", served)
		if err == nil {
			_, err = fmt.Fprintf(d.out, "%s\n", text)
		}
		return err
	}
	text, err := negotiation.FormatAttachMap(info)
	if err != nil {
		return err
	}
	help := served + " A host with this in its environment attaches to it instead of launching one"
	if info.HostKey != nil {
		help += " (it holds a private key: keep it to yourself)"
	}
	if _, err = fmt.Fprintf(d.help, "%s:\n", help); err == nil {
		_, err = fmt.Fprintf(d.out, "%s='%s'\n", negotiation.EnvAttach, text)
	}
	return err
}
