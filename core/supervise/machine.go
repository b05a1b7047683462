package supervise

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// machine is the state of a handle and the one goroutine that changes it. Everything that
// takes time is done by other goroutines, which send what came of it.
type machine struct {
	*Handle
	ctx     context.Context //nolint:containedctx // the handle's own life
	cancel  context.CancelFunc
	plan    *plan // of the next start
	history history
	current *life       // nil in most gaps
	start   *attempt    // a restart that is under way; nil if there is none
	swap    *swap       // nil if none is under way
	timer   *time.Timer // fires when the next start is due
	idle    *time.Timer // fires when the plugin may be idle
	waking  bool        // calls wait for the start that is under way
	reports chan report // of probes
	retired map[instance]bool
	gone    chan instance // retired plugins that have ended
	working sync.WaitGroup
	state   State
}

// life is a plugin that takes calls, or did until a moment ago.
type life struct {
	instance
	began     time.Time
	stopProbe context.CancelFunc
	unhealthy error     // why it is being stopped; nil if it is not
	ailed     time.Time // when unhealthy was set
	resting   bool      // it is being stopped because nobody calls it
	rollback  *rollback // nil if there is nothing to go back to
}

// report is of a plugin that is unhealthy.
type report struct {
	*life
	err error
}

func newMachine(ctx context.Context, h *Handle, p *plan) *machine {
	m := &machine{
		Handle:  h,
		plan:    p,
		history: history{Policy: p.policy},
		timer:   time.NewTimer(0),
		idle:    time.NewTimer(0),
		reports: make(chan report),
		retired: make(map[instance]bool),
		gone:    make(chan instance),
	}
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.timer.Stop()
	m.idle.Stop()
	return m
}

// run is the goroutine that owns the machine.
func (m *machine) run() {
	defer close(m.done)
	defer m.row.Close()
	defer m.endGrace()
	defer m.working.Wait()
	defer m.cancel()
	for m.step() { // the step is all
	}
}

// step waits for the next thing that happens. It reports whether the handle goes on.
func (m *machine) step() bool {
	var ended <-chan struct{}
	if m.current != nil {
		ended = m.current.Done()
	}
	var started, swapped <-chan outcome
	if m.start != nil {
		started = m.start.outcome
	}
	swaps := m.swaps
	if m.swap != nil {
		swaps, swapped = nil, m.swap.attempt.outcome
	}
	var wakes <-chan struct{}
	if m.state.Phase == PhaseIdle {
		wakes = m.wakes
	}
	select {
	case <-m.closing:
		m.close()
		return false
	case <-wakes:
		m.wake()
	case <-m.idle.C:
		m.rest()
	case <-ended:
		m.exited()
	case r := <-m.reports:
		m.ail(r)
	case <-m.timer.C:
		m.due()
	case o := <-started:
		by := m.start.plan
		m.start = nil
		m.restarted(o, by)
	case s := <-swaps:
		m.beginSwap(s)
	case o := <-swapped:
		m.endSwap(o)
	case s := <-m.stuck:
		m.dropSwap(s)
	case p := <-m.gone:
		delete(m.retired, p)
		m.tell(Event{Kind: KindRetired, Err: p.Err()})
	}
	return true
}

// publish makes the state that of the handle. Calls go to p; nil is a gap.
func (m *machine) publish(phase Phase, p instance) {
	m.state.Phase, m.state.Since = phase, time.Now()
	m.state.Attempt = m.history.attempt
	m.state.Plugin, _ = p.(*host.Plugin)
	if phase != PhaseWaiting && phase != PhaseDown {
		m.state.Next = time.Time{}
	}
	old := m.target.Swap(&target{
		plugin: p, plan: m.plan, state: m.state, replaced: make(chan struct{}),
		wakes: phase == PhaseIdle || phase == PhaseStarting && m.waking,
	})
	if old != nil {
		close(old.replaced)
	}
}

// adopt makes calls go to a plugin that is ready and was started by the plan.
func (m *machine) adopt(p instance, by *plan) {
	l := &life{instance: p, began: time.Now()}
	ctx, stopProbe := context.WithCancel(m.ctx)
	l.stopProbe = stopProbe
	if health := by.health; !health.off() {
		m.working.Go(func() {
			health.watch(ctx, p, func(err error) {
				select {
				case m.reports <- report{l, err}:
				case <-ctx.Done():
				}
			})
		})
	}
	if m.contract.Load() == nil {
		m.contract.Store(newContract(p.Protocol()))
	}
	m.current, m.waking = l, false
	m.use(by)
	m.state.Starts++
	m.usage.touch()
	if by.idle > 0 {
		m.idle.Reset(by.idle)
	}
	m.publish(PhaseReady, p)
	m.tell(Event{Kind: KindReady, Plugin: m.state.Plugin})
}

// use makes the plan that of the next starts.
func (m *machine) use(p *plan) {
	m.plan, m.history.Policy = p, p.policy
	m.idle.Stop()
}

// ail takes calls away from an unhealthy plugin and stops it. Its end is then like any
// other.
func (m *machine) ail(r report) {
	if r.life != m.current || r.resting {
		return
	}
	plugin := m.state.Plugin
	m.current.unhealthy, m.current.ailed = r.err, time.Now()
	m.state.Err = r.err
	m.publish(PhaseStopping, nil)
	m.tell(Event{Kind: KindUnhealthy, Err: r.err, Plugin: plugin})
	m.working.Go(func() { end(r.life, r.err) })
}

// errStopped is why a handle is down whose plugin was stopped by other code of the host.
var errStopped = errors.New("the plugin was stopped by its host")

// exited is the end of the current plugin.
func (m *machine) exited() {
	l := m.current
	m.current = nil
	l.stopProbe()
	err, trouble := l.Err(), time.Now()
	m.tell(Event{Kind: KindExited, Err: err})
	if l.resting {
		m.rested()
		return
	}
	switch {
	case l.unhealthy != nil:
		err, trouble = errors.Join(l.unhealthy, err), l.ailed
	case err == nil:
		err = Permanent(errStopped)
	}
	if l.rollback.due(trouble) {
		m.use(l.rollback.plan)
		m.tell(Event{Kind: KindRolledBack, Err: err})
	}
	m.failed(err, time.Since(l.began))
}

// failed decides what follows the end of a plugin after a life, or a start that failed.
func (m *machine) failed(err error, life time.Duration) {
	m.state.Err, m.waking = err, false
	if isPermanent(err) {
		m.giveUp(err, -1)
		return
	}
	delay, again := m.history.end(time.Now(), life)
	if !again {
		m.history.forget()
		m.giveUp(err, m.plan.policy.Pause)
		return
	}
	m.tell(Event{Kind: KindRestarting, Attempt: m.history.attempt, Delay: delay, Err: err})
	if delay == 0 {
		m.restart()
		return
	}
	m.state.Next = time.Now().Add(delay)
	m.timer.Reset(delay)
	m.publish(PhaseWaiting, nil)
}

// giveUp makes the handle down, for a pause or, if that is negative, until it is restarted.
func (m *machine) giveUp(err error, pause time.Duration) {
	m.state.Next = time.Time{}
	if pause > 0 {
		m.state.Next = time.Now().Add(pause)
		m.timer.Reset(pause)
	}
	m.publish(PhaseDown, nil)
	m.tell(Event{Kind: KindGaveUp, Err: err, Delay: max(0, pause)})
}

// due is the end of a delay or of a pause.
func (m *machine) due() {
	if m.state.Phase == PhaseDown && (m.plan.lazy || m.plan.idle > 0) {
		m.publish(PhaseIdle, nil) // until someone calls: a broken plugin that nobody needs is not started again
		return
	}
	m.restart()
}

// restart begins the next start.
func (m *machine) restart() {
	m.history.attempt = max(m.history.attempt, 1) // it is 0 after the pause of a handle that was down
	m.launch()
}

// launch begins a start. One of a handle that was idle is not a restart.
func (m *machine) launch() {
	m.publish(PhaseStarting, nil)
	m.tell(Event{Kind: KindStarting, Attempt: max(1, m.history.attempt)})
	p, want := m.plan, m.contract.Load()
	m.start = m.begin(m.ctx, p, func(ctx context.Context) outcome {
		started, err := p.bringUp(ctx, want, m.stop)
		return outcome{plugin: started, err: err}
	})
}

func (m *machine) restarted(o outcome, by *plan) {
	if o.err != nil {
		m.tell(Event{Kind: KindStartFailed, Attempt: max(1, m.history.attempt), Err: o.err})
		m.failed(o.err, 0)
		return
	}
	m.adopt(o.plugin, by)
}

// close ends everything that goes on, and leaves the plugins to Shutdown.
func (m *machine) close() {
	m.timer.Stop()
	m.idle.Stop()
	if m.start != nil {
		m.start.abandon()
	}
	if m.swap != nil {
		m.swap.attempt.abandon()
		m.swap.result <- errClosed
	}
	if m.current != nil {
		m.current.stopProbe()
		m.left = append(m.left, m.current.instance)
	}
	for p := range m.retired {
		m.left = append(m.left, p)
	}
	m.publish(PhaseClosed, nil)
	m.tell(Event{Kind: KindClosed})
	close(m.closed)
	for _, p := range m.left {
		<-p.Done()
	}
}
