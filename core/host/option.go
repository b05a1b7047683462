package host

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// Option changes how a plugin is launched and called. Options that contradict each other
// are an error that names both. Of one that is given twice, the last one counts.
type Option interface {
	apply(cfg *config) error
}

type optionFunc func(*config) error

func (f optionFunc) apply(cfg *config) error { return f(cfg) }

type config struct {
	name           string
	family         protocol.Family
	transports     transport.Set
	logger         *slog.Logger // its records have the name
	startTimeout   time.Duration
	unary          []grpc.UnaryClientInterceptor
	stream         []grpc.StreamClientInterceptor
	bindings       []protocol.Binding
	services       control.Application // what is bound
	unaryServer    []grpc.UnaryServerInterceptor
	streamServer   []grpc.StreamServerInterceptor
	clientStats    []stats.Handler
	serverStats    []stats.Handler
	maxMessageSize int
	limits         calls.Limits
	wires          []string
	minPort        int
	maxPort        int
	cookie         negotiation.Cookie
	tls            *tls.Config
	mutualTLS      bool
	plaintext      bool
	noCertificate  bool // the plugin is not offered one
	multiplex      bool
	noAttach       bool   // the environment variable is ignored
	socketGroup    string // its number; empty for none
	stdin          *os.File
	stdout, stderr io.Writer
	hooks          *Trace // nil: none
	trace          *tracer
	runner         Runner
	checksum       *checksum // nil: any program
}

// newConfig returns what the options say about a plugin that has the given name
// unless one of them has another, or the protocol's if there is none at all. The
// name is there with an error too.
func newConfig(name string, opts []Option) (*config, error) {
	cfg := &config{
		name:           name,
		startTimeout:   DefaultStartTimeout,
		maxMessageSize: calls.DefaultMaxMessageSize,
		wires:          rpc.Names(),
		cookie:         negotiation.DefaultCookie(),
	}
	var errs []error
	for _, o := range opts {
		errs = append(errs, o.apply(cfg))
	}
	if err := errors.Join(errs...); err != nil {
		return cfg, err
	}
	switch {
	case cfg.family == nil:
		return cfg, errors.New("no protocol given: add host.WithProtocols with the generated Protocol value")
	case len(cfg.transports) == 0:
		return cfg, errors.New(`no transport given: go get github.com/plugwire/plugwire/transport/unix, import "github.com/plugwire/plugwire/transport/unix", and add host.WithTransports(unix.New())`)
	}
	if cfg.runner == nil {
		cfg.runner = LocalRunner()
	}
	if err := cfg.contradiction(); err != nil {
		return cfg, err
	}
	if cfg.logger == nil {
		cfg.logger = logs.Default(os.Stderr, slog.LevelInfo)
	}
	cfg.name = cmp.Or(cfg.name, cfg.family.Name())
	cfg.logger = cfg.logger.With(logs.PluginKey, cfg.name)
	cfg.trace = newTracer(cfg.hooks, cfg.name)
	return cfg, nil
}

// security is what the host offers, in order of preference.
func (c *config) security() []string {
	if c.tls != nil {
		return []string{handshake.SecurityTLS}
	}
	var offer []string
	if !c.mutualTLS && secure.PeerCredSupported && keepsCredentials(c.runner) {
		offer = append(offer, handshake.SecurityPeerCred)
	}
	if !c.noCertificate {
		offer = append(offer, handshake.SecurityMTLS)
	}
	if c.plaintext {
		offer = append(offer, handshake.SecurityNone)
	}
	return offer
}

// WithProtocols sets the versions of one protocol that the host speaks; the
// highest that the plugin has too is chosen. Required.
func WithProtocols(protocols ...*protocol.Protocol) Option {
	return optionFunc(func(cfg *config) (err error) {
		if cfg.family, err = protocol.NewFamily(protocols...); err != nil {
			return fmt.Errorf("host.WithProtocols: %w", err)
		}
		return nil
	})
}

// WithTransports sets the transports that the host can dial, most preferred
// first. Required.
func WithTransports(transports ...transport.Transport) Option {
	return optionFunc(func(cfg *config) (err error) {
		cfg.transports, err = transport.NewSet(transports...)
		return err
	})
}

// WithLogger sets where the plugin's log lines and the framework's own go. The
// level of the logger is passed on to the plugin. By default records at info
// and above go to standard error, for a person if that is a terminal and as
// JSON otherwise.
//
// A slow handler slows the plugin down. When the process has ended, its last lines are
// logged, and Done and Close wait for that. What a handler does not take within 5 s is
// not logged, and a record says how much that is; errors have the last lines all the
// same.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(cfg *config) error {
		if logger == nil {
			return errors.New("host.WithLogger: the logger is nil")
		}
		cfg.logger = logger
		return nil
	})
}

// WithStartTimeout bounds the start, beside the context. The default is
// [DefaultStartTimeout].
func WithStartTimeout(d time.Duration) Option {
	return optionFunc(func(cfg *config) error {
		if d <= 0 {
			return fmt.Errorf("host.WithStartTimeout(%v): want more than 0", d)
		}
		cfg.startTimeout = d
		return nil
	})
}

// WithInterceptors adds interceptors around calls to the plugin, outside those
// added later. Either may be nil. They never see the framework's own calls. The
// *grpc.ClientConn that they are given is for identification only.
func WithInterceptors(unary grpc.UnaryClientInterceptor, stream grpc.StreamClientInterceptor) Option {
	return optionFunc(func(cfg *config) error {
		if unary != nil {
			cfg.unary = append(cfg.unary, unary)
		}
		if stream != nil {
			cfg.stream = append(cfg.stream, stream)
		}
		return nil
	})
}

// WithServices serves bindings to the plugin, which calls them through
// plugin.Host. The plugin may do so from its first call on, in the middle of the
// host's own calls, to any depth. Each binding has one version of a protocol of
// its own, which is not negotiated: the generated Serve functions make them.
//
// Handlers run until the plugin ends; their contexts end with it. A plugin of
// another framework cannot call them.
func WithServices(bindings ...protocol.Binding) Option {
	return optionFunc(func(cfg *config) error {
		cfg.bindings = append(cfg.bindings, bindings...)
		var err error
		if cfg.services, err = control.Unnegotiated(cfg.bindings); err != nil {
			return fmt.Errorf("host.WithServices: %w", err)
		}
		return nil
	})
}

// WithServiceInterceptors adds interceptors around the handlers that were given
// with [WithServices], outside those added later. Either may be nil.
func WithServiceInterceptors(unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) Option {
	return optionFunc(func(cfg *config) error {
		if unary != nil {
			cfg.unaryServer = append(cfg.unaryServer, unary)
		}
		if stream != nil {
			cfg.streamServer = append(cfg.streamServer, stream)
		}
		return nil
	})
}

// WithPortRange tells the plugin in which range, both ends included, to look for
// a free port, for transports that have ports. The default is a port of the
// system's choice.
func WithPortRange(minPort, maxPort int) Option {
	return optionFunc(func(cfg *config) error {
		if minPort < 1 || maxPort < minPort || maxPort > 1<<16-1 {
			return fmt.Errorf("host.WithPortRange(%d, %d): want 1 <= min <= max <= 65535", minPort, maxPort)
		}
		cfg.minPort, cfg.maxPort = minPort, maxPort
		return nil
	})
}

// WithMaxMessageSize sets the largest message, in bytes, that the host sends or
// receives. The default is 256 MiB. The plugin has a limit of its own.
func WithMaxMessageSize(bytes int) Option {
	return optionFunc(func(cfg *config) error {
		if bytes <= 0 {
			return fmt.Errorf("host.WithMaxMessageSize(%d): want at least 1", bytes)
		}
		cfg.maxMessageSize = bytes
		return nil
	})
}

// WithMaxCalls sets how many calls of the plugin may be in flight in the host: calls of
// the services given with [WithServices], and on each connection that is served with
// [Plugin.Broker]. A call over the limit fails at once with codes.ResourceExhausted: it
// never waits, because calls that are nested could then wait for each other without an
// end. The default is 2048. The plugin has a limit of its own for the host's calls
// (plugin.WithMaxCalls).
func WithMaxCalls(calls int) Option {
	return optionFunc(func(cfg *config) error {
		if calls < 1 {
			return fmt.Errorf("host.WithMaxCalls(%d): want at least 1", calls)
		}
		cfg.limits.Calls = calls
		return nil
	})
}

// WithWire sets the wires that calls may travel on, in order of preference. The first one
// that the plugin has too is taken ([Info].Wire). By default all wires of this release are
// offered. Today there is one: "h2", which is gRPC over HTTP/2. Tools such as grpcurl speak
// it, and a plugin that is built on go-plugin speaks nothing else.
func WithWire(wires ...string) Option {
	return optionFunc(func(cfg *config) error {
		if err := rpc.Check(wires); err != nil {
			return fmt.Errorf("host.WithWire: %w", err)
		}
		cfg.wires = wires
		return nil
	})
}

// WithMaxBuffered sets how many bytes the host holds for the plugin's calls before its
// handlers have them: messages larger than 128 KiB that are on their way, and, up to a
// sixteenth of it, metadata. A message that is compressed counts as what it becomes,
// until its call ends or has its next message. A call over the limit fails with codes.ResourceExhausted.
// The default is four messages of the size that [WithMaxMessageSize] allows (1 GiB), and
// at least 64 MiB. Less than one such message is an error. The plugin has a limit of its
// own (plugin.WithMaxBuffered).
func WithMaxBuffered(bytes int) Option {
	return optionFunc(func(cfg *config) error {
		if bytes < 1 {
			return fmt.Errorf("host.WithMaxBuffered(%d): want at least 1", bytes)
		}
		cfg.limits.Buffered = bytes
		return nil
	})
}

// WithCookie sets the environment variable by which the plugin recognizes its
// host. The default is PLUGIN_MAGIC_COOKIE=plugwire. It is a hint for people
// who run a plugin by hand, not security.
func WithCookie(name, value string) Option {
	return optionFunc(func(cfg *config) error {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return fmt.Errorf("host.WithCookie: %q is no name of an environment variable", name)
		}
		cfg.cookie = negotiation.Cookie{Name: name, Value: value}
		return nil
	})
}

// WithTLSConfig authenticates with the given configuration, which is cloned,
// instead of one-time certificates; the plugin must be given its side of it
// (plugin.WithTLSConfig). ServerName defaults to "localhost". It contradicts
// [WithMutualTLS] and [WithPlaintext].
func WithTLSConfig(cfg *tls.Config) Option {
	return optionFunc(func(c *config) error {
		if cfg == nil {
			return errors.New("host.WithTLSConfig: the configuration is nil")
		}
		c.tls = cfg.Clone()
		return nil
	})
}

// WithMutualTLS demands mutual TLS with one-time certificates also where the
// kernel vouches for the plugin, and refuses a plugin that has less. It contradicts
// [WithTLSConfig] and [WithPlaintext].
func WithMutualTLS() Option {
	return optionFunc(func(cfg *config) error {
		cfg.mutualTLS = true
		return nil
	})
}

// WithPlaintext accepts a plugin of another framework that listens on TCP
// without TLS: anyone on this machine can then call it, or answer in its place.
// Plugwire's own plugins never do. It contradicts [WithMutualTLS] and [WithTLSConfig].
func WithPlaintext() Option {
	return optionFunc(func(cfg *config) error {
		cfg.plaintext = true
		return nil
	})
}

// WithMultiplex asks a plugin that is built on go-plugin for its multiplexed mode
// (GRPCBrokerMultiplex there): one connection, which also carries what
// [Plugin.Broker] makes. A plugin that does not have it is refused. It changes
// nothing for Plugwire's own plugins. A plugin on go-plugin cannot be attached to with it.
func WithMultiplex() Option {
	return optionFunc(func(cfg *config) error {
		cfg.multiplex = true
		return nil
	})
}

// WithStdin gives the plugin a standard input: a file, a pipe, or an [os.Stdin]
// that is one of these. A terminal is refused: it is the host's, and two processes
// that read from one terminal take each other's keys.
// The default is the null device.
func WithStdin(f *os.File) Option {
	return optionFunc(func(cfg *config) error {
		if f != nil && isatty.IsTerminal(f.Fd()) {
			return errors.New("host.WithStdin: the file is a terminal, whose keys the plugin and the host would take from each other: read it in the host")
		}
		cfg.stdin = f
		return nil
	})
}

// WithStdout sets a writer that gets the bytes which the plugin writes to its
// standard output, apart from the answer of the handshake. They are logged as
// well. A Write that blocks blocks the plugin. Calls of Write do not overlap.
func WithStdout(w io.Writer) Option {
	return optionFunc(func(cfg *config) error {
		cfg.stdout = w
		return nil
	})
}

// WithStderr sets a writer that gets the bytes which the plugin writes to its
// standard error. They are logged as well. A Write that blocks blocks the
// plugin. Calls of Write do not overlap.
func WithStderr(w io.Writer) Option {
	return optionFunc(func(cfg *config) error {
		cfg.stderr = w
		return nil
	})
}

// WithTrace sets hooks that are called as the plugin goes through its life.
func WithTrace(trace *Trace) Option {
	return optionFunc(func(cfg *config) error {
		if trace == nil {
			return errors.New("host.WithTrace: the trace is nil")
		}
		cfg.hooks = trace
		return nil
	})
}

// WithRunner sets the [Runner] that starts the plugin. The default is [LocalRunner].
func WithRunner(r Runner) Option {
	return optionFunc(func(cfg *config) error {
		if r == nil {
			return errors.New("host.WithRunner: the runner is nil")
		}
		if cfg.runner != nil {
			return errors.New("host.WithRunner is given twice, and one of them starts the plugin (plugintest gives the option too, so a test cannot)")
		}
		cfg.runner = r
		return nil
	})
}
