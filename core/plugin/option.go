package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/transport"
)

// Option changes how a plugin serves. Two options that contradict each other are an error
// that names both. If an option is given twice, the last one counts.
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
	transports       transport.Set
	logger           *slog.Logger // nil: the default, at the host's level
	logHandlers      []func(slog.Handler) slog.Handler
	unary            []grpc.UnaryServerInterceptor
	stream           []grpc.StreamServerInterceptor
	unaryClient      []grpc.UnaryClientInterceptor
	streamClient     []grpc.StreamClientInterceptor
	clientStats      []stats.Handler
	serverStats      []stats.Handler
	maxMessageSize   int
	limits           calls.Limits
	namedStreams     []NamedStreamInterceptor
	wires            []string
	cookie           negotiation.Cookie
	tls              *tls.Config
	onReady          []func(context.Context) error
	onShutdown       []func(context.Context) error
	lookupEnv        func(string) (string, bool)
	answer           io.Writer
	printed          printedOutput
	outlives         bool
	asGoPlugin       bool // every host is served as one on go-plugin
	ignoresTerminate bool
	editStacks       func(stacks string) string // nil: the plugin tells no stacks
	debug            bool                       // hosts come and go, and a person reads standard output
}

func newConfig(opts []Option) (*config, error) {
	cfg := &config{
		maxMessageSize: calls.DefaultMaxMessageSize,
		wires:          rpc.Names(),
		cookie:         negotiation.DefaultCookie(),
		editStacks:     asTheyAre,
	}
	err := applyAll(cfg, opts)
	if cfg.lookupEnv == nil {
		cfg.lookupEnv = os.LookupEnv
	}
	if cfg.answer == nil {
		cfg.answer = os.Stdout
	}
	return cfg, errors.Join(err, cfg.contradiction())
}

// errTwice returns the error of a duplicate option that connects the plugin with its
// host. The plugin has one host, so one of the two would have no effect.
func errTwice(option string) error {
	return fmt.Errorf("plugin.%s is given twice, and there is one host (plugintest gives the option too, so a test cannot)", option)
}

// contradiction returns an error for two options that cannot both take effect.
func (c *config) contradiction() error {
	if c.limits.Buffered != 0 && c.limits.Buffered < c.maxMessageSize {
		return fmt.Errorf("plugin.WithMaxBuffered and plugin.WithMaxMessageSize contradict each other: there is no room for one message: %d bytes are less than the %d that a message may have", c.limits.Buffered, c.maxMessageSize)
	}
	return nil
}

var errNoTransports = errors.New(`no transport given: go get github.com/plugwire/plugwire/transport/unix, import "github.com/plugwire/plugwire/transport/unix", and add plugin.WithTransports(unix.New())`)

// WithTransports sets the transports that the plugin can listen on. It is required. The
// host's order of preference decides which one is taken.
func WithTransports(transports ...transport.Transport) Option {
	return optionFunc(func(cfg *config) (err error) {
		cfg.transports, err = transport.NewSet(transports...)
		return err
	})
}

// WithLogger sets the logger that [Logger] returns and that the framework logs to. By
// default it writes JSON lines to standard error, at the level of the host's logger. The
// host makes its own records from them. Under a go-plugin host the lines have hclog's
// form, at every level.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(cfg *config) error {
		if logger == nil {
			return errors.New("plugin.WithLogger: the logger is nil")
		}
		cfg.logger = logger
		return nil
	})
}

// WithLogHandler puts a handler of the caller's before that of the plugin's logger, for
// example to add attributes from the context: wrap gets the handler and returns its own.
// The handler that was added last gets a record first.
func WithLogHandler(wrap func(slog.Handler) slog.Handler) Option {
	return optionFunc(func(cfg *config) error {
		if wrap == nil {
			return errors.New("plugin.WithLogHandler: the function is nil")
		}
		cfg.logHandlers = append(cfg.logHandlers, wrap)
		return nil
	})
}

// WithInterceptors adds interceptors around the application's handlers, and around those
// that Broker.Serve serves. Interceptors that are added first are outermost. Either may be
// nil. They never see calls of the framework's own services (health, reflection,
// shutdown).
func WithInterceptors(unary grpc.UnaryServerInterceptor, stream grpc.StreamServerInterceptor) Option {
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

// WithHostInterceptors adds interceptors around the plugin's calls to its host ([Host]),
// and around calls on connections of [Broker]. Interceptors that are added first are
// outermost. Either may be nil. They get a *grpc.ClientConn to identify the host, and must
// not call it.
func WithHostInterceptors(unary grpc.UnaryClientInterceptor, stream grpc.StreamClientInterceptor) Option {
	return optionFunc(func(cfg *config) error {
		if unary != nil {
			cfg.unaryClient = append(cfg.unaryClient, unary)
		}
		if stream != nil {
			cfg.streamClient = append(cfg.streamClient, stream)
		}
		return nil
	})
}

// WithMaxMessageSize sets the largest message, in bytes, that the plugin
// receives or sends. The default is 256 MiB. The host has a limit of its own.
func WithMaxMessageSize(bytes int) Option {
	return optionFunc(func(cfg *config) error {
		if bytes <= 0 {
			return fmt.Errorf("plugin.WithMaxMessageSize(%d): want at least 1", bytes)
		}
		cfg.maxMessageSize = bytes
		return nil
	})
}

// WithMaxCalls sets how many calls of the host may be in flight in the plugin. The default
// is 2048. A call over the limit fails at once with codes.ResourceExhausted, and has not
// begun (host.NotBegun). It never waits: nested calls that wait for each other would never
// end. The host has a limit of its own for the plugin's calls (host.WithMaxCalls).
func WithMaxCalls(calls int) Option {
	return optionFunc(func(cfg *config) error {
		if calls < 1 {
			return fmt.Errorf("plugin.WithMaxCalls(%d): want at least 1", calls)
		}
		cfg.limits.Calls = calls
		return nil
	})
}

// WithWire sets the wires that calls may travel on. The host's order of preference decides
// which one is taken (host.Info.Wire). By default the plugin has all wires of this release.
// "h2" is gRPC over HTTP/2. Tools such as grpcurl speak it, and a host that is built on
// go-plugin speaks nothing else. "pw/1" carries the same calls without HTTP/2, and is faster
// (docs/wire.md).
func WithWire(wires ...string) Option {
	wires = slices.Clone(wires)
	return optionFunc(func(cfg *config) error {
		if err := rpc.Check(wires); err != nil {
			return fmt.Errorf("plugin.WithWire: %w", err)
		}
		cfg.wires = wires
		return nil
	})
}

// WithMaxBuffered sets how many bytes the plugin holds for the host's calls before its
// handlers have them. Messages larger than 128 KiB count while they are on their way.
// Metadata counts up to a sixteenth of the limit. A compressed message counts with its
// size after decompression, until its call ends or gets its next message.
//
// A call over the limit fails with codes.ResourceExhausted. The default is four messages
// of the size that [WithMaxMessageSize] allows (1 GiB), and at least 64 MiB. A limit below
// the size of one such message is an error. The host has a limit of its own
// (host.WithMaxBuffered).
func WithMaxBuffered(bytes int) Option {
	return optionFunc(func(cfg *config) error {
		if bytes < 1 {
			return fmt.Errorf("plugin.WithMaxBuffered(%d): want at least 1", bytes)
		}
		cfg.limits.Buffered = bytes
		return nil
	})
}

// WithCookie sets the environment variable by which the plugin recognizes its host. The
// host must use the same (host.WithCookie). The default is PLUGIN_MAGIC_COOKIE=plugwire.
func WithCookie(name, value string) Option {
	return optionFunc(func(cfg *config) error {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return fmt.Errorf("plugin.WithCookie: %q is not a valid environment variable name", name)
		}
		cfg.cookie = negotiation.Cookie{Name: name, Value: value}
		return nil
	})
}

// WithTLSConfig makes the plugin serve with a clone of the given configuration instead of
// one-time certificates. The host must use host.WithTLSConfig.
func WithTLSConfig(cfg *tls.Config) Option {
	return optionFunc(func(c *config) error {
		if cfg == nil {
			return errors.New("plugin.WithTLSConfig: the configuration is nil")
		}
		c.tls = cfg.Clone()
		return nil
	})
}

// OnShutdown adds a function that runs when the plugin stops, after the calls in flight
// have ended. Functions run one after another, the last added first. The context ends when
// the grace of the stop does. An error is logged and makes the exit code 1. The functions
// do not run when the host was killed.
func OnShutdown(f func(ctx context.Context) error) Option {
	return optionFunc(func(cfg *config) error {
		if f == nil {
			return errors.New("plugin.OnShutdown: the function is nil")
		}
		cfg.onShutdown = append(cfg.onShutdown, f)
		return nil
	})
}

// OutlivesHost keeps the plugin running when a go-plugin host ends without stopping it.
// Some of these hosts, Nomad for example, leave their plugins running and attach to them
// again (ReattachConfig there). Without the option [Main] then ends the plugin and all
// that it has started. The option has no effect under a Plugwire host, whose plugins end
// with it.
func OutlivesHost() Option {
	return optionFunc(func(cfg *config) error {
		cfg.outlives = true
		return nil
	})
}

// IgnoresSIGTERM makes a plugin that runs [Main] ignore SIGTERM. By default the signal
// begins a stop, and the plugin refuses new calls. A service manager such as systemd
// sends SIGTERM to all processes of a service at once. There the default makes the last
// calls fail of a host that still has work to finish.
//
// The plugin then ends when its host asks it to, or when its host ends. A host that ends
// the plugin by force sends SIGTERM without effect, and SIGKILL a second later. The option
// has no effect where only a signal ends a plugin after its host. Such plugins have
// [OutlivesHost] under a go-plugin host, run under a host with a Runner of its own, are
// debugged, or run on Windows.
func IgnoresSIGTERM() Option {
	return optionFunc(func(cfg *config) error {
		cfg.ignoresTerminate = true
		return nil
	})
}

// WithLookupEnv sets the function that finds the variables of the host's offer. The
// default is [os.LookupEnv].
func WithLookupEnv(lookup func(name string) (value string, ok bool)) Option {
	return optionFunc(func(cfg *config) error {
		if lookup == nil {
			return errors.New("plugin.WithLookupEnv: the function is nil")
		}
		if cfg.lookupEnv != nil {
			return errTwice("WithLookupEnv")
		}
		cfg.lookupEnv = lookup
		return nil
	})
}

// WithAnswerWriter sets the writer that gets the one-line answer, in one Write. The
// default is [os.Stdout].
func WithAnswerWriter(w io.Writer) Option {
	return optionFunc(func(cfg *config) error {
		if w == nil {
			return errors.New("plugin.WithAnswerWriter: the writer is nil")
		}
		if cfg.answer != nil {
			return errTwice("WithAnswerWriter")
		}
		cfg.answer = w
		return nil
	})
}
