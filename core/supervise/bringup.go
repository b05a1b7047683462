package supervise

import (
	"context"
	"errors"
	"fmt"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// plan is how a handle starts plugins and keeps them up. It never changes: a swap brings
// another one.
type plan struct {
	launch launcher
	*config
}

// bringUp starts a plugin, and returns it when it is initialized and healthy. want is what
// it must speak; nil for anything. stop stops a plugin that did not get ready, so that nothing
// is left of a start that fails.
func (p *plan) bringUp(ctx context.Context, want *contract, stop func(instance)) (instance, error) {
	if p.turn != nil {
		done, err := p.turn(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.startTimeout, &startTimeoutError{p.config})
	defer cancel()
	started, err := p.launch(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.makeReady(ctx, started, want); err != nil {
		stop(started)
		return nil, err
	}
	return started, nil
}

func (c *config) makeReady(ctx context.Context, p instance, want *contract) error {
	if err := want.check(p); err != nil {
		return err
	}
	if c.initialize != nil {
		if err := c.initialize(ctx, p); err != nil {
			return fmt.Errorf("initialize plugin %s: %w", p.Name(), endOf(ctx, p, err))
		}
	}
	if err := c.health.awaitHealthy(ctx, p); err != nil {
		return fmt.Errorf("plugin %s is not healthy: %w", p.Name(), endOf(ctx, p, err))
	}
	return nil
}

// endOf adds to an error of a start what ended the start.
func endOf(ctx context.Context, p instance, err error) error {
	select {
	case <-p.Done():
		if end := p.Err(); end != nil && !errors.Is(err, end) {
			return fmt.Errorf("%w: %w", err, end)
		}
	default:
		if timeout, ok := errors.AsType[*startTimeoutError](context.Cause(ctx)); ok {
			return fmt.Errorf("%w: %w", err, timeout)
		}
	}
	return err
}

// stop stops a plugin that takes no calls. Its grace ends when a Shutdown of the handle runs
// out of time: the handle must not wait longer for a plugin that hangs in its start.
func (h *Handle) stop(p instance) { stop(h.grace, p) }

// stop stops a plugin that takes no calls. It is killed when ctx ends, or after
// [host.DefaultGrace].
func stop(ctx context.Context, p instance) {
	ctx, cancel := context.WithTimeout(ctx, host.DefaultGrace)
	defer cancel()
	_ = p.Shutdown(ctx) // the reason why it is not wanted says more
	<-p.Done()          // comes in bounded time after Shutdown
}

type startTimeoutError struct{ cfg *config }

func (e *startTimeoutError) Error() string {
	return fmt.Sprintf("it was not ready within %v (supervise.WithStartTimeout)", e.cfg.startTimeout)
}

// Is makes it a context.DeadlineExceeded.
func (e *startTimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// contract is what callers rely on from the first plugin of a handle on.
type contract struct {
	protocol   *protocol.Protocol
	idempotent map[string]bool // methods that may run twice, by full name
}

func newContract(p *protocol.Protocol) *contract {
	return &contract{protocol: p, idempotent: idempotentMethods(p)}
}

// check reports whether a plugin keeps the contract. Without one it does.
func (c *contract) check(p instance) error {
	if c == nil {
		return nil
	}
	if want, got := c.protocol, p.Protocol(); got.Name() != want.Name() || got.Version() != want.Version() {
		return &VersionError{Name: p.Name(), Want: want, Got: got}
	}
	return nil
}

// VersionError is why a new plugin was refused: it speaks another version of the protocol
// than the plugins before it, and so than the generated clients of the callers.
type VersionError struct {
	Name string
	// Want is what the handle speaks, Got what the new plugin would.
	Want, Got *protocol.Protocol
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("plugin %s speaks protocol %v, and the callers of the handle speak %v", e.Name, e.Got, e.Want)
}
