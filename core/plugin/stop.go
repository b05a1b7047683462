package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

// lingerTimeout bounds how long the plugin waits until its host has read what the plugin
// wrote last. The host ends its session as soon as it has read the end of the last call.
const lingerTimeout = time.Second

// linger waits until the host has read what is still in this process.
func (s *server) linger() {
	if l, ok := s.listener.(transport.Lingerer); ok {
		ctx, cancel := context.WithTimeout(context.Background(), lingerTimeout)
		defer cancel()
		l.Linger(ctx)
	}
}

// wait waits for the end: the host or ctx stops the plugin, one of its OnReady functions
// fails, or it can no longer accept connections.
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
		rt.logger.WarnContext(ctx, "calls were cut off by the shutdown", "error", err, "stacks", s.handlers())
		// Cut the handlers off before the shutdown functions run, which may close what
		// handlers use.
		said := s.foreign.Stopped(ctx)
		cut := rt.calls.Stop(drainCtx, grace/8)
		hooks := s.runHooks(ctx, rt.logger)
		return errors.Join(said, cut, hooks)
	}
	hooks := s.runHooks(ctx, rt.logger)
	if s.foreign == nil {
		return errors.Join(hooks, rt.calls.Stop(ctx, grace/8))
	}
	// A host on go-plugin closes the connection when it hears of the end, so what this
	// plugin printed goes first.
	said := s.foreign.Stopped(ctx)
	ctx, cancel = context.WithTimeout(ctx, foreignExit)
	defer cancel()
	if err := rt.calls.Stop(ctx, grace/8); err != nil {
		// The host has its answer. The connections are those of other clients.
		rt.logger.WarnContext(ctx, "connections were cut off by the shutdown", "error", err)
	}
	return errors.Join(hooks, said)
}
