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
	"sync"
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
)

// DefaultGrace is how long a stop may take in all if neither side sets a limit: when the
// context of [Serve] ends, or the host asks without a limit.
const DefaultGrace = 10 * time.Second

// Serve serves binding to the host that started this process, until the host stops the
// plugin or ctx ends. It returns nil after an orderly stop. A stop lets calls in flight
// finish, for three quarters of its time. The rest is for OnShutdown functions. If the host
// asked for the stop, the end of ctx cuts the stop short.
//
// An error that satisfies errors.As with [*handshake.Error] means that no host started this
// process, or that the two did not agree.
//
// Serve changes nothing outside of itself, with one exception. When the host dies, Serve
// removes the listener and kills its own process group, also after it has returned. On Linux
// the kernel kills what is left of the group when both have ended. To have time for that,
// Serve turns off the parent-death signal that the host has set, and writes to a broken
// standard output or error fail instead of ending the process. On Linux, a program with cgo
// cannot turn off the signal after it has called signal.Notify: use [Main], or call Serve
// first. Otherwise the socket of a killed host's plugin stays until the next host sweeps it.
func Serve(ctx context.Context, binding protocol.Binding, opts ...Option) error {
	return serve(ctx, binding, opts, nil)
}

// serve is Serve. Main gives own, which serve calls in the background when the plugin's life
// is bound to the host's. The argument of own says whether the plugin ignores SIGTERM. In
// Serve own is nil.
func serve(ctx context.Context, binding protocol.Binding, opts []Option, own func(ignoresTerminate bool)) error {
	cfg, optErr := newConfig(opts)
	offer, err := negotiation.ParseOffer(cfg.lookupEnv, cfg.cookie, goruntime.GOOS)
	s := &server{config: cfg, offer: offer}
	s.runtime = &runtime{logger: s.newLogger(), stacks: s.takeStacks(), stopping: make(chan struct{}), namedStreams: cfg.namedStreams}
	if err != nil {
		return s.refuse(err)
	}
	if s.lifeline, err = openLifeline(offer, s.runtime.logger); err != nil {
		return s.refuse(err)
	}
	defer func() { s.lifeline.release() }()
	if cfg.asGoPlugin {
		offer.Plugwire = false
	}
	if !offer.Plugwire {
		s.foreign = newForeign()
		defer s.foreign.Abandon()
	}
	if own != nil && cfg.printed.isSet() {
		return s.refuse(errPrinted)
	}
	if own != nil && s.foreign != nil && !cfg.debug {
		if err := s.takeOver(); err != nil {
			return err
		}
	}
	s.catchSignals(own)
	defer s.signals.Wait()
	defer cfg.printed.end()
	s.foreign.Read(cfg.printed.stdout, cfg.printed.stderr)
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
	foreign  *foreign       // nil under a Plugwire host
	signals  sync.WaitGroup // done when signals are caught

	outlivesForeign bool // the host on go-plugin may end before this process

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
		DrainAnswers:   s.foreign != nil && !s.asGoPlugin, // a Plugwire host reads the last answers itself
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
			rt.services = control.Register(r, s.info(binding, r), started, control.Requests{Shutdown: shutdown, Ready: s.ready.announce, Stacks: rt.stacks})
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
	s.signals.Wait()      // before the user's functions, and before a host that may send a signal
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
			Buffered:       s.limits.Buffered,
			Unary:          s.unaryClient,
			Stream:         s.streamClient,
			Stats:          s.clientStats,
			IsControl:      control.IsControl,
		},
		Owner: s.runtime,
	}
	switch {
	case !s.offer.Plugwire:
		cfg.NoHost = noHost("the host is of another framework: it serves nothing that plugin.Host reaches")
	case !s.offer.Callbacks:
		cfg.NoHost = noHost("the host serves nothing: it was launched without host.WithServices")
	}
	if !s.debug {
		cfg.Launcher = s.offer.Instance
	}
	return cfg
}

// noHost returns a function that makes the error of calls to a host that serves nothing.
func noHost(why string) func() error {
	return func() error { return calls.NotSent(codes.Unimplemented, why).Err() }
}

func (s *server) logPanic(ctx context.Context, method string, value any, stack []byte) {
	s.runtime.logger.ErrorContext(ctx, "panic in a handler", "method", method, "panic", fmt.Sprint(value), "stack", string(stack))
}

func (s *server) newLogger() *slog.Logger {
	logger := s.baseLogger()
	for _, wrap := range s.logHandlers {
		logger = slog.New(wrap(logger.Handler()))
	}
	return logger
}

// baseLogger returns the logger before the caller's handlers.
func (s *server) baseLogger() *slog.Logger {
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
