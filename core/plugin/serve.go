package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/control/controlpb"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// DefaultGrace is how long a stop may take in all when nobody said otherwise:
// when the context of [Serve] ends, or the host asks without a limit.
const DefaultGrace = 10 * time.Second

// Serve serves binding to the host that started this process, until the host
// says stop or ctx ends, and returns nil after an orderly stop. A stop lets
// calls in flight finish, for three quarters of the time it has; what is left
// of it is for OnShutdown functions. When the host asked for the stop, the end
// of ctx cuts it short.
//
// An error that satisfies errors.As with [*handshake.Error] means that no host
// started this process or that the two did not agree. Serve changes nothing
// outside of itself but for one case: when the host dies, it removes the
// listener and kills its own process group, also after it has returned. On Linux
// the kernel kills what is left of the group when both have ended. So that Serve
// can clean up, writes to a broken standard output or error fail instead of ending
// the process, and the parent-death signal that the host has set is turned off. In a
// program with cgo that fails on Linux once signal.Notify was called: use [Main], or
// call Serve first, or the socket of a killed host's plugin stays until the next host
// sweeps it.
func Serve(ctx context.Context, binding protocol.Binding, opts ...Option) error {
	return serve(ctx, binding, opts, nil)
}

// serve is Serve. For a program whose main is ours it calls own, when the plugin's
// life is bound to the host's, and says whether SIGTERM is to be ignored; otherwise
// own is nil.
func serve(ctx context.Context, binding protocol.Binding, opts []Option, own func(ignoresTerminate bool)) error {
	cfg, optErr := newConfig(opts)
	offer, err := negotiation.ParseOffer(cfg.lookupEnv, cfg.cookie, goruntime.GOOS)
	s := &server{config: cfg, offer: offer}
	s.runtime = &runtime{logger: s.newLogger(), stopping: make(chan struct{})}
	if err != nil {
		return s.refuse(err)
	}
	if s.lifeline, err = openLifeline(offer, s.runtime.logger); err != nil {
		return s.refuse(err)
	}
	defer func() { s.lifeline.release() }()
	if !offer.Plugwire {
		s.foreign = newForeign()
		defer s.foreign.Abandon()
	}
	if own != nil {
		if s.foreign != nil && !cfg.debug {
			if err := s.takeOver(); err != nil {
				return err
			}
		}
		own(cfg.ignoresTerminate && s.lifeline != nil)
	}
	s.files = inherit(offer)
	defer s.files.close()
	if optErr != nil {
		return s.refuse(optErr)
	}
	s.families, err = binding.Families()
	for _, family := range s.families {
		err = errors.Join(err, control.CheckFamily(family))
	}
	if err == nil {
		err = s.restrictWires(binding)
	}
	if err != nil {
		return s.refuse(err)
	}
	err = s.listen(ctx)
	s.files.close() // of transports that were not taken
	if err != nil {
		return s.refuse(err)
	}
	return s.serve(ctx, binding)
}

// server is one call of Serve.
type server struct {
	*config
	offer    *negotiation.Offer
	runtime  *runtime
	families []protocol.Family
	lifeline *lifeline
	files    inheritedFiles
	foreign  *foreign // nil under a Plugwire host

	multiplexed *multiplexedEnd // nil except in go-plugin's multiplexed mode
	ready       *readiness

	// Set by listen.
	protocol *protocol.Protocol
	answer   negotiation.Answer
	listener net.Listener
	creds    *secure.Credentials
}

// refuse tells a Plugwire host why it gets no plugin, and returns the reason. A
// foreign host has only standard error and the exit code.
func (s *server) refuse(reason error) error {
	if !s.offer.Plugwire {
		return reason
	}
	var refusal *handshake.Error
	if !errors.As(reason, &refusal) {
		refusal = &handshake.Error{Code: handshake.CodeInternal, Reason: reason.Error()}
	}
	answer := negotiation.Answer{Plugwire: true, Instance: s.offer.Instance, Refusal: refusal}
	if len(s.families) == 1 { // of several, none may have been chosen
		answer.Protocol = s.families[0].Name()
	}
	if err := s.writeAnswer(&answer); err != nil {
		return errors.Join(reason, err)
	}
	return &refusedError{reason}
}

func (s *server) writeAnswer(a *negotiation.Answer) error {
	line := a.String() + "\n"
	if a.Plugwire {
		// Ends a line that something else may have begun. A foreign host looks
		// at the first line only.
		line = "\n" + line
	}
	if _, err := io.WriteString(s.config.answer, line); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// restrictWires leaves the wires that can carry calls to what is bound.
func (s *server) restrictWires(binding protocol.Binding) error {
	if !slices.ContainsFunc(slices.Concat(s.families...), binding.RequiresServer) {
		return nil
	}
	if s.wires = rpc.ServerNames(s.wires); len(s.wires) == 0 {
		return errors.New(`plugin.WithWire and protocol.FromServer contradict each other: only the wire "h2" carries calls to what registers itself on a *grpc.Server`)
	}
	return nil
}

// listen negotiates and opens the first transport that can be opened.
func (s *server) listen(ctx context.Context) error {
	if len(s.transports) == 0 {
		return errNoTransports
	}
	protocols := make([]negotiation.Protocol, len(s.families))
	for i, family := range s.families {
		protocols[i] = negotiation.Protocol{Name: family.Name(), Versions: family.Versions()}
	}
	choice, err := negotiation.Choose(s.offer, negotiation.Capabilities{
		Protocols:  protocols,
		Transports: s.transports.IDs(),
		Sessions:   s.sessions(),
		Wires:      s.wires,
	})
	if err != nil {
		return err
	}
	for _, family := range s.families {
		if family.Name() == choice.Protocol {
			s.protocol = family.Version(choice.Version)
		}
	}
	s.answer = negotiation.Answer{
		Version:  choice.Version,
		Plugwire: s.offer.Plugwire,
		Wire:     choice.Wire,
		Protocol: choice.Protocol,
		Instance: s.offer.Instance,
	}
	if s.offer.Plugwire {
		s.answer.Preamble = session.PreambleVersion
	}
	if !s.offer.Plugwire && s.offer.Multiplex != "" {
		s.answer.Multiplex = strconv.FormatBool(s.offer.Multiplexed())
	}
	return s.openFirst(ctx, choice.Candidates)
}

// sessions returns the kinds of session on each transport.
func (s *server) sessions() map[string][]string {
	kinds := make(map[string][]string, len(s.transports))
	for _, t := range s.transports {
		kinds[t.Name()] = session.Kinds(t)
	}
	return kinds
}

// openFirst opens the first candidate that can be opened. The answer says why
// it is not one that the host prefers.
func (s *server) openFirst(ctx context.Context, candidates []negotiation.Candidate) error {
	var skipped []string
	var refusals []*handshake.Error
	for _, c := range candidates {
		err := s.open(ctx, c)
		if err == nil {
			s.answer.Skipped = strings.Join(skipped, "; ")
			return nil
		}
		skipped = append(skipped, fmt.Sprintf("%s: %v", c.Transport, err))
		if refusal, ok := errors.AsType[*handshake.Error](err); ok {
			refusals = append(refusals, refusal)
		}
	}
	if len(refusals) == len(skipped) { // it was not for the transports
		return refusals[0]
	}
	return &handshake.Error{Code: handshake.CodeTransport, Reason: "the plugin could not listen: " + strings.Join(skipped, "; ")}
}

// open listens on one transport, and chooses how the two sides know each other
// on it.
func (s *server) open(ctx context.Context, c negotiation.Candidate) error {
	t := s.transports.ByName(c.Transport.Name)
	s.creds, s.answer.Cert = nil, nil
	cfg := transport.ListenConfig{
		Version: c.Transport.Version,
		Dir:     s.offer.SocketDir,
		Group:   s.offer.SocketGroup,
		MinPort: s.offer.MinPort,
		MaxPort: s.offer.MaxPort,
		Logger:  s.runtime.logger,
	}
	if c.Session == handshake.SessionNative {
		if err := s.secure(false); err != nil {
			return err
		}
		cfg.TLS = s.creds.TLSConfig()
	}
	var err error
	if cfg.Files, err = s.files.take(t.Name()); err != nil {
		return err
	}
	if s.listener, err = s.lifeline.listen(func() (net.Listener, error) { return t.Listen(ctx, cfg) }); err != nil {
		return err
	}
	s.answer.Network, s.answer.Transport, s.answer.Session = t.Name(), c.Transport, c.Session
	s.answer.Transports = nil
	if !canBroker(c.Transport) {
		s.answer.Transports = s.transports.IDs() // its broker needs another one
	}
	peerCred := secure.PeerCredSupported
	if _, prepared := t.(transport.Preparer); prepared {
		peerCred = secure.PeerCredOfPairs
		s.answer.Address = session.NoAddress
	} else {
		s.answer.Address = s.listener.Addr().String()
		err = transport.CheckAddress(s.answer.Address)
	}
	if err == nil && s.creds == nil {
		err = s.secure(peerCred && s.listener.Addr().Network() == "unix")
	}
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	return nil
}

// secure chooses how the two sides know each other. peerCred says whether the
// kernel vouches for the peer on the transport.
func (s *server) secure(peerCred bool) error {
	var able []string
	if peerCred {
		able = append(able, handshake.SecurityPeerCred)
	}
	if s.offer.ClientCert != "" {
		able = append(able, handshake.SecurityMTLS)
	}
	if s.tls != nil {
		able = []string{handshake.SecurityTLS} // its user wants no less
	}
	chosen, err := negotiation.ChooseSecurity(s.offer, able)
	if err != nil {
		return err
	}
	if s.tls != nil && !s.offer.Plugwire {
		chosen = handshake.SecurityTLS // as go-plugin's TLSProvider: both sides were told
	}
	s.answer.Security = chosen
	switch chosen {
	case handshake.SecurityPeerCred:
		s.creds = secure.PeerCred(os.Geteuid())
	case handshake.SecurityTLS:
		s.creds = secure.OwnTLS(handshake.SecurityTLS, s.tls)
	case handshake.SecurityMTLS:
		return s.mutualTLS()
	default:
		s.creds = secure.Plaintext()
	}
	return nil
}

func (s *server) mutualTLS() error {
	host, err := secure.ParsePEM(s.offer.ClientCert)
	if err != nil {
		return &handshake.Error{Code: handshake.CodeSecurity, Reason: fmt.Sprintf("the host's certificate in %s does not parse: %v", negotiation.EnvClientCert, err)}
	}
	id, err := secure.NewIdentity()
	if err != nil {
		return err
	}
	s.answer.Cert = id.DER()
	s.creds = secure.MutualTLS(id, host)
	return nil
}

// serve answers, serves, and stops.
func (s *server) serve(ctx context.Context, binding protocol.Binding) error {
	started := time.Now()
	rt := s.runtime
	s.ready = newReadiness(s.config, rt)
	s.answer.Ready = s.offer.Plugwire && len(s.onReady) > 0
	rt.session = s.openSession(session.ListenerConfig{
		Kind:        s.answer.Session,
		Credentials: s.creds.WithALPN(rpc.ALPN(s.answer.Wire)),
		Foreign:     !s.offer.Plugwire,
		Logger:      rt.logger,
	})
	rt.broker = s.newBroker()
	stop := make(chan time.Duration, 1)
	server := calls.ServerConfig{
		Side:           "plugin",
		Other:          "host",
		MaxMessageSize: s.maxMessageSize,
		Limits:         s.limits,
		Logger:         rt.logger,
		DrainAnswers:   s.foreign != nil,
		Application:    func(r grpc.ServiceRegistrar) error { return binding.Register(r, s.protocol) },
		RequiresServer: binding.RequiresServer(s.protocol),
		IsControl:      control.IsControl,
		Control: func(r calls.Registrar) {
			shutdown := func(grace time.Duration) {
				select {
				case stop <- grace:
				default: // a stop is already under way
				}
			}
			rt.services = control.Register(r, s.info(binding, r), started, control.Requests{Shutdown: shutdown, Ready: s.ready.announce})
			s.registerGoPlugin(r, shutdown)
		},
		Unary:   s.unary,
		Stream:  s.stream,
		Stats:   s.serverStats,
		OnPanic: s.logPanic,
	}
	var err error
	rt.calls, err = rpc.Serve(s.plan(server))
	if err != nil {
		s.endSession()
		return s.refuse(err)
	}
	if s.foreign != nil { // this host will not ask
		err = s.ready.run(context.WithValue(ctx, runtimeKey{}, rt))
	}
	if err == nil {
		err = s.writeAnswer(&s.answer)
	}
	if err == nil {
		err = s.wait(ctx, stop)
	}
	rt.calls.Close()
	rt.broker.Close(errStopped)
	s.linger()
	s.endSession()
	return err
}

// plan says how calls travel.
func (s *server) plan(server calls.ServerConfig) rpc.PluginConfig {
	cfg := rpc.PluginConfig{
		Wire:     s.answer.Wire,
		Listener: s.runtime.session,
		Server:   server,
		Client: calls.ClientConfig{
			Side:           "plugin",
			Other:          "host",
			MaxMessageSize: s.maxMessageSize,
			Unary:          s.unaryClient,
			Stream:         s.streamClient,
			Stats:          s.clientStats,
			IsControl:      control.IsControl,
		},
		Owner: s.runtime,
	}
	switch {
	case !s.offer.Plugwire:
		cfg.NoHost = calls.NotSent(codes.Unimplemented, "the host is of another framework: it serves nothing that plugin.Host reaches").Err()
	case !s.offer.Callbacks:
		cfg.NoHost = calls.NotSent(codes.Unimplemented, "the host serves nothing: it was launched without host.WithServices").Err()
	}
	if !s.debug {
		cfg.Launcher = s.offer.Instance
	}
	return cfg
}

func (s *server) logPanic(ctx context.Context, method string, value any, stack []byte) {
	s.runtime.logger.ErrorContext(ctx, "panic in a handler", "method", method, "panic", fmt.Sprint(value), "stack", string(stack))
}

// lingerTimeout bounds how long the plugin waits for its host to have what was
// written last. The host ends its session at once when it has read the end of
// the last call.
const lingerTimeout = time.Second

// linger waits for the host to have what this process would take with it.
func (s *server) linger() {
	if l, ok := s.listener.(transport.Lingerer); ok {
		ctx, cancel := context.WithTimeout(context.Background(), lingerTimeout)
		defer cancel()
		l.Linger(ctx)
	}
}

// wait returns when the plugin has stopped or can no longer accept.
func (s *server) wait(ctx context.Context, stop <-chan time.Duration) error {
	rt := s.runtime
	var grace time.Duration
	var failure error // of OnReady
	select {
	case grace = <-stop:
	case failure = <-s.ready.failed:
	case <-ctx.Done():
		ctx = context.WithoutCancel(ctx)
	case err := <-rt.calls.Failed():
		return err
	}
	return errors.Join(failure, s.stop(ctx, grace))
}

// stop stops the plugin within grace.
func (s *server) stop(ctx context.Context, grace time.Duration) error {
	rt := s.runtime
	if grace <= 0 {
		grace = DefaultGrace
	}
	rt.services.Stopping()
	close(rt.stopping)
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, runtimeKey{}, rt), grace)
	defer cancel()
	drainCtx, cancelDrain := context.WithTimeout(ctx, grace*3/4)
	defer cancelDrain()
	if err := rt.calls.Drain(drainCtx); err != nil {
		rt.logger.WarnContext(ctx, "calls were cut off by the shutdown", "error", err)
		// Before the shutdown functions, which may close what handlers use.
		return errors.Join(s.foreign.Stopped(ctx), rt.calls.Stop(drainCtx, grace/8), s.runHooks(ctx, rt.logger))
	}
	err := errors.Join(s.runHooks(ctx, rt.logger), s.foreign.Stopped(ctx))
	if s.foreign == nil {
		return errors.Join(err, rt.calls.Stop(ctx, grace/8))
	}
	ctx, cancel = context.WithTimeout(ctx, foreignExit)
	defer cancel()
	if err := rt.calls.Stop(ctx, grace/8); err != nil {
		// The host has its answer: these are connections of others.
		rt.logger.WarnContext(ctx, "connections were cut off by the shutdown", "error", err)
	}
	return err
}

func (s *server) newLogger() *slog.Logger {
	if s.logger != nil {
		return s.logger
	}
	if !s.offer.Plugwire {
		return logs.Hclog(os.Stderr, logs.LevelTrace) // it does not tell its level, and filters
	}
	level, ok := logs.ParseLevel(s.offer.LogLevel)
	if !ok {
		level = slog.LevelInfo
	}
	return logs.Default(os.Stderr, level)
}

func (s *server) info(binding protocol.Binding, r calls.Registrar) *controlpb.InfoResponse {
	services := binding.Services(s.protocol)
	if binding.RequiresServer(s.protocol) { // the server knows what registered itself
		services = slices.Sorted(maps.Keys(r.GetServiceInfo()))
	}
	return &controlpb.InfoResponse{
		Protocol: s.protocol.Name(),
		Version:  int32(s.protocol.Version()), //nolint:gosec // versions are small numbers
		Pid:      int64(os.Getpid()),
		Services: services,
	}
}
