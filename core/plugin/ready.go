package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// OnReady adds a function that runs once the host is connected, before its Launch
// returns. The function's context makes [Host], [SetHealth] and [Logger] work, as a
// handler's does: a plugin that calls its host on its own, and not only from a
// handler, begins here.
//
// Functions run one after another, the first added first. The first error ends the
// start: the host's StartError has its text, the other functions do not run, the
// plugin runs its [OnShutdown] functions and [Serve] returns the error. A panic is
// an error too.
//
// The host's start timeout bounds the functions, and their context ends then, or when
// the plugin begins to stop. What goes on after the function has returned uses
// [context.WithoutCancel]. That is necessary for [OpenStream] and [AcceptStream],
// because the host's code has no handle on the plugin before Launch has returned:
//
//	plugin.OnReady(func(ctx context.Context) error {
//		go sendEvents(context.WithoutCancel(ctx)) // opens a stream
//		return nil
//	})
//
// A plugin that is debugged (PLUGWIRE_DEBUG) runs the functions for each host that
// attaches. An error fails the attaching of that host only.
//
// Under a host on go-plugin the functions run right before the plugin answers, because
// such a host does not say when it is ready. [Host] and [Broker] reach nothing then.
// An error goes to standard error, and the exit code is 1.
func OnReady(f func(ctx context.Context) error) Option {
	return optionFunc(func(cfg *config) error {
		if f == nil {
			return errors.New("plugin.OnReady: the function is nil")
		}
		cfg.onReady = append(cfg.onReady, f)
		return nil
	})
}

// readiness runs the functions that were added with [OnReady].
type readiness struct {
	functions []func(context.Context) error
	repeats   bool // every call runs the functions, because hosts come and go
	stopping  <-chan struct{}
	logger    *slog.Logger
	failed    chan error // receives the error of the first run, if repeats is not set

	begun atomic.Bool   // set before the only run
	done  chan struct{} // closed after the only run; err is set then
	err   error
}

func newReadiness(cfg *config, rt *runtime) *readiness {
	return &readiness{
		functions: cfg.onReady,
		repeats:   cfg.debug,
		stopping:  rt.stopping,
		logger:    rt.logger,
		failed:    make(chan error, 1),
		done:      make(chan struct{}),
	}
}

// announce answers the host's question whether the plugin is ready. The host may ask
// again. The functions have run once by then, and the answer is the same.
func (r *readiness) announce(ctx context.Context) error {
	if r.repeats {
		return notReady(r.run(ctx))
	}
	if r.begun.CompareAndSwap(false, true) {
		if r.err = r.run(ctx); r.err != nil {
			r.failed <- &refusedError{r.err}
		}
		close(r.done)
	}
	select {
	case <-r.done:
		return notReady(r.err)
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func notReady(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codes.FailedPrecondition, err.Error())
}

// run runs the functions until one returns an error, ctx ends or the plugin begins to
// stop.
func (r *readiness) run(ctx context.Context) error {
	if len(r.functions) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-r.stopping:
			cancel(errStopping)
		case <-finished:
		}
	}()
	for _, f := range r.functions {
		if err := runHook(ctx, f); err != nil {
			logHookError(ctx, r.logger, "a function given with plugin.OnReady failed", err)
			return fmt.Errorf("plugin.OnReady: %w", err)
		}
	}
	return nil
}

var errStopping = errors.New("the plugin is shutting down")
