package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// DefaultStartTimeout bounds a start, with the initialization and the first probe. It is
// twice what [host.Launch] has by default.
const DefaultStartTimeout = 2 * time.Minute

// Option changes how a plugin is kept up. Of one that is given twice, the last one counts,
// except where it says that it adds something.
type Option interface {
	GroupOption
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
	turn         func(ctx context.Context) (done func(), err error) // before each start; nil: at once
	idle         time.Duration                                      // a plugin that nobody calls for so long is stopped; 0: it is not
	wanted       func() bool                                        // reports whether a plugin that nobody calls must live; nil: it need not
	lazy         bool                                               // a handle that was down becomes idle after its pause
	policy       Policy
	health       Health
	initialize   func(ctx context.Context, p instance) error // nil: nothing to do
	hold         time.Duration
	grace        time.Duration
	startTimeout time.Duration
	logger       *slog.Logger
	listeners    []func(Event)
}

func newConfig(opts []Option) (*config, error) {
	cfg := &config{grace: host.DefaultGrace, startTimeout: DefaultStartTimeout, logger: slog.Default()}
	err := applyAll(cfg, opts)
	var policyErr, healthErr error
	cfg.policy, policyErr = cfg.policy.withDefaults()
	cfg.health, healthErr = cfg.health.withDefaults()
	return cfg, errors.Join(err, policyErr, healthErr)
}

// WithPolicy sets when a plugin that has ended is started again.
func WithPolicy(p Policy) Option {
	return optionFunc(func(cfg *config) error {
		cfg.policy = p
		return nil
	})
}

// WithInit sets a function that makes a new plugin ready for calls: it sends the
// configuration, for example. It runs for each start, with restarts and swaps, before any
// call of the handle reaches the plugin. An error is a failed start: the plugin is
// stopped. The context bounds the start. The function calls the plugin that it gets, and
// not the handle, which has no plugin yet.
func WithInit(initialize func(ctx context.Context, p *host.Plugin) error) Option {
	return optionFunc(func(cfg *config) error {
		if initialize == nil {
			return errors.New("supervise.WithInit: the function is nil")
		}
		cfg.initialize = func(ctx context.Context, p instance) error {
			plugin, _ := p.(*host.Plugin)
			return initialize(ctx, plugin)
		}
		return nil
	})
}

// WithHold makes calls wait up to d for the next plugin when there is none. Without it
// they fail at once with codes.Unavailable, except those with grpc.WaitForReady(true),
// which wait until their context ends. No call waits while the handle is down.
func WithHold(d time.Duration) Option {
	return optionFunc(func(cfg *config) error {
		if d < 0 {
			return fmt.Errorf("supervise.WithHold(%v): want at least 0", d)
		}
		cfg.hold = d
		return nil
	})
}

// WithStartTimeout bounds a start with its initialization, beside [host.WithStartTimeout].
// The default is [DefaultStartTimeout].
func WithStartTimeout(d time.Duration) Option {
	return optionFunc(func(cfg *config) error {
		if d <= 0 {
			return fmt.Errorf("supervise.WithStartTimeout(%v): want more than 0", d)
		}
		cfg.startTimeout = d
		return nil
	})
}

// WithLogger sets where the handle's own records go. The default is [slog.Default]. The
// plugins have the logger of their [host.WithLogger].
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(cfg *config) error {
		if logger == nil {
			return errors.New("supervise.WithLogger: the logger is nil")
		}
		cfg.logger = logger
		return nil
	})
}

// WithListener adds a function that gets all events, one at a time and in their order.
// It may take its time: the handle does not wait for it, and keeps the events that the
// function has not had yet. Several listeners get each event in the order in which they
// were added.
func WithListener(listener func(Event)) Option {
	return optionFunc(func(cfg *config) error {
		if listener == nil {
			return errors.New("supervise.WithListener: the function is nil")
		}
		cfg.listeners = append(cfg.listeners, listener)
		return nil
	})
}
