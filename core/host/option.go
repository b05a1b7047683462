package host

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/board"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// Option changes how a host launches and calls a plugin. Options that contradict each
// other are an error that names both. If an option is given twice, the last one counts.
type Option interface {
	apply(cfg *config) error
}

type optionFunc func(*config) error

func (f optionFunc) apply(cfg *config) error { return f(cfg) }

// Options makes one option of several, which are applied in their order. It is for
// packages that configure more than one thing.
func Options(opts ...Option) Option {
	opts = slices.Clone(opts)
	return optionFunc(func(cfg *config) error { return applyAll(cfg, opts) })
}

func applyAll(cfg *config, opts []Option) error {
	var errs []error
	for _, o := range opts {
		errs = append(errs, o.apply(cfg))
	}
	return errors.Join(errs...)
}

type config struct {
	name           string
	family         protocol.Family
	anyProtocol    bool // the family has only versions: the plugin names the protocol
	transports     transport.Set
	logger         *slog.Logger // its records have the plugin's name
	startTimeout   time.Duration
	unary          []grpc.UnaryClientInterceptor
	stream         []grpc.StreamClientInterceptor
	bindings       []protocol.Binding
	services       control.Application // the bindings
	unaryServer    []grpc.UnaryServerInterceptor
	streamServer   []grpc.StreamServerInterceptor
	clientStats    []stats.Handler
	dialOptions    []grpc.DialOption
	serverStats    []stats.Handler
	namedStreams   []NamedStreamInterceptor
	maxMessageSize int
	limits         calls.Limits
	wires          []string
	minPort        int
	maxPort        int
	cookie         negotiation.Cookie
	tls            *tls.Config
	mutualTLS      bool
	plaintext      bool
	noCertificate  bool // the plugin is offered no certificate
	multiplex      bool
	noAttach       bool   // PLUGWIRE_ATTACH is ignored
	socketGroup    string // the number of the group; empty for none
	tempDir        string // where the private directory is made; empty for the default
	stdin          *os.File
	stdout, stderr io.Writer
	traces         []*Trace
	printed        printedCopies
	trace          *tracer
	runner         Runner
	checksum       *checksum // nil for any program
	status         bool
	shown          *board.Run // nil without status
}

// newConfig returns the configuration that the options make. The plugin's name is that
// of an option, or else the given one, or else the protocol's. The configuration has a
// name with an error too.
func newConfig(name string, opts []Option) (*config, error) {
	cfg := &config{
		name:           name,
		startTimeout:   DefaultStartTimeout,
		maxMessageSize: calls.DefaultMaxMessageSize,
		wires:          rpc.Names(),
		cookie:         negotiation.DefaultCookie(),
	}
	if err := applyAll(cfg, opts); err != nil {
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
	if cfg.services.RequiresServer() {
		cfg.wires = rpc.ServerNames(cfg.wires)
	}
	if err := cfg.contradiction(); err != nil {
		return cfg, err
	}
	if cfg.logger == nil {
		cfg.logger = logs.Default(os.Stderr, slog.LevelInfo)
	}
	cfg.name = cmp.Or(cfg.name, cfg.family.Name())
	cfg.logger = cfg.logger.With(logs.PluginKey, cfg.name)
	cfg.trace = newTracer(cfg.traces, cfg.name)
	return cfg, nil
}

// security returns what the host offers, in order of preference.
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

// WithProtocols sets the versions of one protocol that the host speaks. The two sides
// choose the highest version that both have. Required.
func WithProtocols(protocols ...*protocol.Protocol) Option {
	return optionFunc(func(cfg *config) (err error) {
		if cfg.family, err = protocol.NewFamily(protocols...); err != nil {
			return fmt.Errorf("host.WithProtocols: %w", err)
		}
		cfg.anyProtocol = false
		return nil
	})
}

// WithTransports sets the transports that the host can dial, in order of preference.
// Required.
func WithTransports(transports ...transport.Transport) Option {
	return optionFunc(func(cfg *config) (err error) {
		cfg.transports, err = transport.NewSet(transports...)
		return err
	})
}

// WithLogger sets where the plugin's log lines and the framework's own records go. The
// plugin learns the level of the logger, with [WithStatus] info at most. By default, records
// at info and above go to standard error, as text for people if that is a terminal and as
// JSON otherwise.
//
// A slow handler slows the plugin down. When the process has ended, the host logs its
// last lines, and Done and Close wait for that. Lines that the handler does not take
// within 5 s are not logged, and a record says how many those are. Errors have the last
// lines in any case.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(cfg *config) error {
		if logger == nil {
			return errors.New("host.WithLogger: the logger is nil")
		}
		cfg.logger = logger
		return nil
	})
}

// WithStartTimeout bounds the start, in addition to the context. The default is
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

// WithInterceptors adds interceptors around calls to the plugin, outside those added
// later. Either may be nil. They never see the framework's own calls. The
// *grpc.ClientConn that they get is for identification only.
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

// WithServices serves bindings to the plugin, which calls them through plugin.Host. The
// plugin may call from its first call on, in the middle of the host's own calls, and to
// any depth. Each binding has one version of its own protocol, which is not negotiated.
// The generated Serve functions make bindings.
//
// Handlers run until the plugin ends, and their contexts end with it. A plugin of
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

// WithServiceInterceptors adds interceptors around the handlers given with
// [WithServices], outside those added later. Either may be nil.
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

// WithPortRange sets the range, both ends included, in which the plugin looks for a
// free port. It is for transports that have ports. The default is a port that the
// system chooses.
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
// receives. The default is 256 MiB. The plugin has its own limit
// (plugin.WithMaxMessageSize).
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
// the services given with [WithServices], and calls on each connection that
// [Plugin.Broker] serves. The default is 2048. A call over the limit fails at once with
// codes.ResourceExhausted. It never waits, because nested calls could then wait for
// each other without an end. The plugin has its own limit for the host's calls
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
// offered. "h2" is gRPC over HTTP/2. Tools such as grpcurl speak it, and a plugin that is
// built on go-plugin speaks nothing else. "pw/1" carries the same calls without HTTP/2, and
// is faster (docs/wire.md).
func WithWire(wires ...string) Option {
	wires = slices.Clone(wires)
	return optionFunc(func(cfg *config) error {
		if err := rpc.Check(wires); err != nil {
			return fmt.Errorf("host.WithWire: %w", err)
		}
		cfg.wires = wires
		return nil
	})
}

// WithMaxBuffered sets how many bytes the host holds for the plugin's calls before its
// handlers get them. These bytes are messages larger than 128 KiB that are on their way
// and, up to a sixteenth of the limit, metadata. A compressed message counts with its
// full size until its call ends or receives the next message. A call over the limit
// fails with codes.ResourceExhausted.
//
// The default is four messages of the size that [WithMaxMessageSize] allows (1 GiB),
// and at least 64 MiB. Less than one such message is an error. The plugin has its own
// limit (plugin.WithMaxBuffered).
func WithMaxBuffered(bytes int) Option {
	return optionFunc(func(cfg *config) error {
		if bytes < 1 {
			return fmt.Errorf("host.WithMaxBuffered(%d): want at least 1", bytes)
		}
		cfg.limits.Buffered = bytes
		return nil
	})
}

// WithCookie sets the environment variable by which the plugin recognizes its host. The
// default is PLUGIN_MAGIC_COOKIE=plugwire. The cookie is a hint for people who run a
// plugin by hand, not security.
func WithCookie(name, value string) Option {
	return optionFunc(func(cfg *config) error {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return fmt.Errorf("host.WithCookie: %q is not a valid environment variable name", name)
		}
		cfg.cookie = negotiation.Cookie{Name: name, Value: value}
		return nil
	})
}

// WithTLSConfig authenticates with the given configuration, which is cloned, instead of
// one-time certificates. Give the plugin its side of it (plugin.WithTLSConfig).
// ServerName defaults to "localhost". The option contradicts [WithMutualTLS] and
// [WithPlaintext].
func WithTLSConfig(cfg *tls.Config) Option {
	return optionFunc(func(c *config) error {
		if cfg == nil {
			return errors.New("host.WithTLSConfig: the configuration is nil")
		}
		c.tls = cfg.Clone()
		return nil
	})
}

// WithMutualTLS demands mutual TLS with one-time certificates, also where peer
// credentials would do, and refuses a plugin that has less. It contradicts
// [WithTLSConfig] and [WithPlaintext].
func WithMutualTLS() Option {
	return optionFunc(func(cfg *config) error {
		cfg.mutualTLS = true
		return nil
	})
}

// WithPlaintext accepts a plugin of another framework that listens on TCP without TLS.
// Every process of this machine can then call the plugin, or answer in its place.
// Plugwire's own plugins never listen like that. The option contradicts [WithMutualTLS]
// and [WithTLSConfig].
func WithPlaintext() Option {
	return optionFunc(func(cfg *config) error {
		cfg.plaintext = true
		return nil
	})
}

// WithMultiplex asks a plugin on go-plugin for its multiplexed mode
// (GRPCBrokerMultiplex there): one connection, which also carries the streams of
// [Plugin.Broker]. The host refuses a plugin without that mode. The option changes
// nothing for Plugwire's own plugins. A host with it cannot attach to a plugin on
// go-plugin.
func WithMultiplex() Option {
	return optionFunc(func(cfg *config) error {
		cfg.multiplex = true
		return nil
	})
}

// WithStdin gives the plugin a standard input: a file, a pipe, or an [os.Stdin] that is
// a file or a pipe. A terminal is an error, because it is the host's: two processes
// that read from one terminal take each other's keys. The default is the null device.
func WithStdin(f *os.File) Option {
	return optionFunc(func(cfg *config) error {
		if f != nil && isatty.IsTerminal(f.Fd()) {
			return errors.New("host.WithStdin: the file is a terminal, whose keys the plugin and the host would take from each other: read it in the host")
		}
		cfg.stdin = f
		return nil
	})
}

// WithStdout sets a writer for the bytes that the plugin writes to its standard output,
// except the answer of the handshake. The host logs them as well. A Write that blocks
// blocks the plugin. Calls of Write do not overlap.
func WithStdout(w io.Writer) Option {
	return optionFunc(func(cfg *config) error {
		cfg.stdout = w
		return nil
	})
}

// WithStderr sets a writer for the bytes that the plugin writes to its standard error.
// The host logs them as well. A Write that blocks blocks the plugin. Calls of Write do
// not overlap.
func WithStderr(w io.Writer) Option {
	return optionFunc(func(cfg *config) error {
		cfg.stderr = w
		return nil
	})
}

// WithTrace adds hooks that the host calls for the events in the life of the plugin.
// Several traces run in the order in which they were added.
func WithTrace(trace *Trace) Option {
	return optionFunc(func(cfg *config) error {
		if trace == nil {
			return errors.New("host.WithTrace: the trace is nil")
		}
		cfg.traces = append(cfg.traces, trace)
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
