package supervise

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// SwapOption changes one [Handle.Swap].
type SwapOption interface {
	apply(s *swap)
}

type swapOptionFunc func(*swap)

func (f swapOptionFunc) apply(s *swap) { f(s) }

// WithGrace sets how long calls and streams of the old plugin may take to end. The
// default is [host.DefaultGrace].
func WithGrace(d time.Duration) SwapOption {
	return swapOptionFunc(func(s *swap) { s.grace = d })
}

// WithRollback makes a handle go back to the launch function from before the swap if the
// new plugin ends, or is unhealthy, within d after the switch.
func WithRollback(d time.Duration) SwapOption {
	return swapOptionFunc(func(s *swap) { s.rollback = d })
}

// WithQuiesce sets a function for plugins that hold something that only one process can
// have, such as a port or a lock. It runs before the new plugin is started, and makes the
// old one give that thing up. If the swap fails later, undo makes the old plugin take it
// again; undo may be nil. The function does not run in a gap.
func WithQuiesce(quiesce func(ctx context.Context, old *host.Plugin) (undo func(), err error)) SwapOption {
	return swapOptionFunc(func(s *swap) { s.quiesce = quiesce })
}

// swap is a request to replace the plugin.
type swap struct {
	ctx      context.Context                             //nolint:containedctx // that of the call, which waits for result
	launch   launcher                                    // nil: the one of the plan
	plan     *plan                                       // nil: the one that the handle has, with launch
	gate     func(ctx context.Context, p instance) error // runs when p is ready, and its error is the swap's; nil: nothing
	grace    time.Duration
	rollback time.Duration
	quiesce  func(ctx context.Context, old *host.Plugin) (undo func(), err error)
	result   chan error // has room for it
	// lenient makes the plan that of a handle without a plugin, though the start has failed
	// with err, if it returns true; nil: it does not.
	lenient func(ctx context.Context, err error) bool

	attempt *attempt    // set when the swap is under way
	used    atomic.Bool // lenient has returned true
}

// Swap replaces the plugin by one that launch starts, with no call lost. When the new
// plugin is initialized and healthy, all new calls go to it at once. Swap then returns, and
// the old plugin is stopped with a grace for its calls and streams. Later restarts use
// launch.
//
// An error means that nothing was replaced: the old plugin goes on as it was. ctx bounds
// the start of the new one. If launch ignores ctx, Swap returns some seconds after the end of
// ctx all the same, and a plugin that still comes is stopped. A plugin that speaks another version of the protocol is
// refused with a [*VersionError]. Swaps of one handle happen one after the other.
func (h *Handle) Swap(ctx context.Context, launch LaunchFunc, opts ...SwapOption) error {
	if launch == nil {
		return errors.New("supervise.Handle.Swap: the launch function is nil")
	}
	return h.replace(ctx, launch.launcher(), opts...)
}

// Restart replaces the plugin by a new one of the same launch function, as [Handle.Swap]
// does. If the handle is down or waits for its next start, Restart starts one at once.
func (h *Handle) Restart(ctx context.Context, opts ...SwapOption) error {
	return h.replace(ctx, nil, opts...)
}

func (h *Handle) replace(ctx context.Context, launch launcher, opts ...SwapOption) error {
	if err := h.request(newSwap(ctx, &swap{launch: launch}, opts)); err != nil {
		return fmt.Errorf("replace plugin %s: %w", h.name, err)
	}
	return nil
}

func newSwap(ctx context.Context, s *swap, opts []SwapOption) *swap {
	s.ctx, s.grace, s.result = ctx, host.DefaultGrace, make(chan error, 1)
	for _, o := range opts {
		o.apply(s)
	}
	return s
}

// request makes the machine do a swap, and waits for what comes of it.
func (h *Handle) request(s *swap) error {
	select {
	case h.swaps <- s:
		return h.outcomeOf(s)
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-h.closed:
		return errClosed
	}
}

// swapPatience is how long a swap waits, once its context has ended, until the new plugin
// is stopped and the launch function has returned. It is [host.DefaultGrace], which the stop
// may take, and closePatience.
const swapPatience = 15 * time.Second

// outcomeOf waits for what comes of a swap that the machine has taken.
func (h *Handle) outcomeOf(s *swap) error {
	select {
	case err := <-s.result:
		return err
	case <-s.ctx.Done():
	}
	patience := time.NewTimer(swapPatience)
	defer patience.Stop()
	select {
	case err := <-s.result:
		return err
	case <-patience.C:
	}
	select {
	case err := <-s.result:
		return err
	case h.stuck <- s:
		return <-s.result
	}
}

func (m *machine) beginSwap(s *swap) {
	switch {
	case s.plan != nil:
	case s.launch != nil:
		s.plan = &plan{launch: s.launch, config: m.plan.config}
	default:
		s.plan = m.plan
	}
	want := m.contract.Load()
	old, quiesces := m.state.Plugin, s.quiesce != nil && m.state.Phase == PhaseReady
	m.tell(Event{Kind: KindStarting})
	m.swap = s
	s.attempt = m.begin(s.ctx, s.plan, func(ctx context.Context) (o outcome) {
		if quiesces {
			if o.undo, o.err = s.quiesce(ctx, old); o.err != nil {
				return outcome{err: fmt.Errorf("quiesce: %w", o.err)}
			}
		}
		if o.plugin, o.err = s.bringUp(ctx, want, m.stop); o.err != nil {
			o.runUndo()
		}
		return o
	})
}

// bringUp returns the new plugin when it is ready and its gate is open.
func (s *swap) bringUp(ctx context.Context, want *contract, stop func(instance)) (instance, error) {
	p, err := s.plan.bringUp(ctx, want, stop)
	switch {
	case err != nil:
		s.used.Store(s.lenient != nil && s.lenient(ctx, err))
		return nil, err
	case s.gate == nil:
		return p, nil
	}
	if err := s.gate(ctx, p); err != nil {
		stop(p)
		return nil, err
	}
	return p, nil
}

// dropSwap gives up a swap that ignores the end of its context, so that the next one can
// begin. A plugin that still comes of it is stopped.
func (m *machine) dropSwap(s *swap) {
	if m.swap != s {
		return // it has ended at the same moment
	}
	m.swap = nil
	s.attempt.abandon()
	err := fmt.Errorf("a launch, an initialization or a quiesce ignores its context: %w", s.ctx.Err())
	m.tell(Event{Kind: KindStartFailed, Err: err})
	s.result <- err
}

// endSwap switches to the new plugin, if there is one.
func (m *machine) endSwap(o outcome) {
	s := m.swap
	m.swap = nil
	if o.err == nil {
		// The first plugin of all may have become ready during the swap.
		if o.err = m.contract.Load().check(o.plugin); o.err != nil {
			m.working.Go(func() { m.stop(o.plugin) })
		}
	}
	if o.err != nil {
		m.tell(Event{Kind: KindStartFailed, Err: o.err})
		if s.used.Load() {
			m.useBroken(s.plan, o.err)
		}
		s.result <- o.err
		return
	}
	m.timer.Stop()
	if m.start != nil {
		m.start.abandon()
		m.start = nil
	}
	old, before := m.current, m.plan
	m.history.forget()
	m.state.Err = nil
	m.adopt(o.plugin, s.plan)
	m.tell(Event{Kind: KindSwapped, Plugin: m.state.Plugin})
	if s.rollback > 0 {
		m.current.rollback = &rollback{plan: before, until: time.Now().Add(s.rollback)}
	}
	if old != nil {
		m.retire(old, s.grace)
	}
	s.result <- nil
}

// useBroken makes a plan that of the next starts, though its start has failed with err: an
// older plan may need members that are gone. A plugin that lives keeps its target, with the
// old plan, so that the next Apply replaces the plugin.
func (m *machine) useBroken(p *plan, err error) {
	m.use(p)
	switch {
	case m.start != nil: // by the old plan
		m.start.abandon()
		m.state.Err = err
		m.launch()
	case m.current == nil || m.current.resting:
		m.state.Err = err
		m.publish(m.state.Phase, nil)
	case p.idle > 0:
		m.idle.Reset(p.idle)
	}
}

// retire stops a plugin that takes no new calls.
func (m *machine) retire(old *life, grace time.Duration) {
	old.stopProbe()
	m.retired[old.instance] = true
	m.working.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = old.Shutdown(ctx) // Err says how it ended
		<-old.Done()
		select {
		case m.gone <- old.instance:
		case <-m.closing:
		}
	})
}

// rollback is what a handle goes back to if the plugin of a swap does not live long.
type rollback struct {
	plan  *plan
	until time.Time
}

func (r *rollback) due(now time.Time) bool { return r != nil && now.Before(r.until) }
