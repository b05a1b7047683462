package supervise

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// modelSteps is how many steps TestModel makes. The soak makes a million.
func modelSteps() int {
	if os.Getenv("PLUGWIRE_SOAK") == "full" {
		return 1_000_000
	}
	return 20_000
}

var modelSeed = flag.Uint64("supervise.seed", 0, "seed of the random steps of TestSoakModel; 0 for a new one")

// stepsOfALife is how many steps a handle of the model lives.
const stepsOfALife = 200

// model is what must hold for a handle, whatever happens: it knows the allowed changes of
// the state, and what a call may end with in each.
type model struct {
	t       *testing.T
	f       *factory
	h       *Handle
	policy  Policy
	pending sync.WaitGroup // calls and swaps that are under way
	mu      sync.Mutex     // guards the fields below
	rnd     *rand.Rand
	events  []Event
	broken  bool // starts fail
	slow    bool // starts take some seconds
	idles   bool // the handle is idle at first, and after some seconds without a call
	trouble []string
	waiting int // calls that have not ended
}

// follows says which events may come after which. The event of the start is Ready.
var follows = map[Kind][]Kind{
	KindReady:       {KindReady, KindExited, KindUnhealthy, KindSwapped, KindStarting, KindStartFailed, KindRetired, KindClosed},
	KindSwapped:     {KindExited, KindUnhealthy, KindStarting, KindRetired, KindClosed},
	KindUnhealthy:   {KindExited, KindStarting, KindStartFailed, KindReady, KindRetired, KindClosed},
	KindExited:      {KindRestarting, KindGaveUp, KindRolledBack},
	KindRolledBack:  {KindRestarting, KindGaveUp},
	KindRestarting:  {KindStarting, KindStartFailed, KindReady, KindRetired, KindClosed},
	KindStarting:    {KindReady, KindStartFailed, KindStarting, KindExited, KindUnhealthy, KindRetired, KindClosed},
	KindStartFailed: {KindRestarting, KindGaveUp, KindReady, KindExited, KindUnhealthy, KindStarting, KindStartFailed, KindRetired, KindClosed},
	KindGaveUp:      {KindStarting, KindStartFailed, KindReady, KindRetired, KindClosed},
	KindRetired:     {KindExited, KindUnhealthy, KindStarting, KindStartFailed, KindReady, KindRetired, KindClosed},
	KindClosed:      {},
}

// followsIdle says the same of a handle that is sometimes idle, for what differs.
var followsIdle = map[Kind][]Kind{
	KindIdle:   {KindExited, KindStarting, KindStartFailed, KindReady, KindRetired, KindClosed},
	KindExited: {KindRestarting, KindGaveUp, KindRolledBack, KindStarting, KindStartFailed, KindReady, KindRetired, KindClosed},
}

// mayFollow reports whether an event may come after another one.
func (m *model) mayFollow(last, next Kind) bool {
	if m.idles {
		if kinds, ok := followsIdle[last]; ok {
			return slices.Contains(kinds, next)
		}
		if next == KindIdle && slices.Contains([]Kind{KindReady, KindSwapped, KindRetired, KindStartFailed}, last) {
			return true
		}
	}
	return slices.Contains(follows[last], next)
}

func (m *model) errorf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble = append(m.trouble, fmt.Sprintf(format, args...))
}

// below returns a random number below n.
func (m *model) below(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rnd.IntN(n)
}

func (m *model) upTo(d time.Duration) time.Duration { return time.Duration(m.below(int(d))) }

func (m *model) listen(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// prepare is what each start does.
func (m *model) prepare(ctx context.Context, p *fakePlugin) error {
	m.mu.Lock()
	broken, slow := m.broken, m.slow
	m.mu.Unlock()
	wait := m.upTo(3 * time.Second)
	p.slow = m.upTo(2 * time.Second)
	if slow {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if broken {
		return errBroken
	}
	return nil
}

// living returns the plugins that have not ended.
func (m *model) living() []*fakePlugin {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	var living []*fakePlugin
	for _, p := range m.f.plugins {
		select {
		case <-p.done:
		default:
			living = append(living, p)
		}
	}
	return living
}

// call makes a call in a goroutine of its own, and checks how it ends.
func (m *model) call(opts ...grpc.CallOption) {
	ctx, cancel := context.WithTimeout(context.Background(), m.upTo(10*time.Second)+1)
	m.pending.Go(func() {
		defer cancel()
		began := time.Now()
		deadline, _ := ctx.Deadline()
		m.count(1)
		_, err := call(ctx, m.h, opts...)
		m.count(-1)
		switch status.Code(err) {
		case codes.OK:
		case codes.DeadlineExceeded:
			if time.Now().Before(deadline) {
				m.errorf("a call ended before its deadline: %v", err)
			}
		case codes.Unavailable:
			waits := waitsForReady(opts)
			if gap, ok := errors.AsType[*UnavailableError](err); ok && waits && gap.State.Phase != PhaseDown && gap.State.Phase != PhaseClosed {
				m.errorf("a call that waits for ready failed: %v", err)
			} else if !waits && !m.idles && time.Since(began) > 0 {
				m.errorf("a call waited for %v: %v", time.Since(began), err)
			}
		default:
			m.errorf("a call: %v", err)
		}
	})
}

// count changes how many calls have not ended, and returns it.
func (m *model) count(change int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting += change
	return m.waiting
}

// swap replaces the plugin.
func (m *model) swap(opts ...SwapOption) {
	ctx, cancel := context.WithTimeout(context.Background(), m.upTo(5*time.Second)+1)
	m.pending.Go(func() {
		defer cancel()
		err := m.h.replace(ctx, m.f.launch, opts...)
		if err != nil && !errors.Is(err, errBroken) && !errors.Is(err, errClosed) && ctx.Err() == nil {
			m.errorf("a swap: %v", err)
		}
	})
}

// step does something at random.
func (m *model) step() {
	switch m.below(12) {
	case 0, 1:
		if living := m.living(); len(living) > 0 {
			living[m.below(len(living))].kill()
		}
	case 2:
		if p := m.living(); len(p) > 0 {
			p[0].set(func() { p[0].health = hang })
		}
	case 3:
		m.swap(WithGrace(m.upTo(3 * time.Second)))
	case 4:
		m.swap(WithRollback(m.upTo(10 * time.Second)))
	case 5:
		broken, slow := m.below(4) == 0, m.below(2) == 0
		m.mu.Lock()
		m.broken, m.slow = broken, slow
		m.mu.Unlock()
	case 6, 7:
		m.call()
	case 8:
		m.call(grpc.WaitForReady(true))
	case 9:
		time.Sleep(m.upTo(20 * time.Second))
	default:
		time.Sleep(m.upTo(time.Second))
	}
}

// check compares the handle with what must hold at a moment at which nothing happens.
func (m *model) check() {
	synctest.Wait()
	s := m.h.State()
	t := m.h.target.Load()
	switch {
	case (s.Phase == PhaseReady) != (t.plugin != nil):
		m.errorf("%+v, and calls go to %v", s, t.plugin)
	case s.Phase == PhaseReady && m.count(0) > 0:
		m.errorf("%d calls wait for a plugin that is ready", m.count(0))
	case s.Phase == PhaseReady:
		p := t.plugin.(*fakePlugin)
		select {
		case <-p.done:
			m.errorf("calls go to plugin %d, which has ended", p.number)
		default:
		}
	case s.Phase == PhaseIdle && !m.idles:
		m.errorf("the handle is idle: %+v", s)
	case s.Phase == PhaseIdle:
		if n := m.count(0); n > 0 && len(m.living()) == 0 {
			m.errorf("%d calls wait for a handle that is idle", n)
		}
	case s.Phase == PhaseStarting && m.idles && s.Err == nil:
		// A call has started it.
	case s.Phase == PhaseWaiting && !s.Next.After(time.Now().Add(-1)):
		m.errorf("the next start was due: %+v", s)
	case s.Phase == PhaseWaiting && s.Next.Sub(s.Since) > m.policy.MaxDelay:
		m.errorf("the delay is too long: %+v", s)
	case s.Phase != PhaseReady && s.Phase != PhaseClosed && s.Err == nil:
		m.errorf("a gap without a reason: %+v", s)
	}
}

// finish closes the handle and checks that nothing is left.
func (m *model) finish() {
	_ = m.h.Close() // a plugin that hangs is killed
	<-m.h.Done()
	m.pending.Wait()
	synctest.Wait()
	for _, p := range m.living() {
		m.errorf("plugin %d is left", p.number)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.events[0]
	if last.Kind != KindReady && !m.idles {
		m.t.Errorf("the first event is %q", last.Kind)
	}
	for _, e := range m.events[1:] {
		if !m.mayFollow(last.Kind, e.Kind) || e.Time.Before(last.Time) {
			m.t.Errorf("event %q at %v after %q at %v", e.Kind, e.Time, last.Kind, last.Time)
		}
		last = e
	}
	if last.Kind != KindClosed {
		m.t.Errorf("the last event is %q", last.Kind)
	}
	m.replay()
	for _, trouble := range m.trouble {
		m.t.Error(trouble)
	}
}

// replay computes from the events alone what had to follow each end: a restart after
// which delay, or none. The caller holds mu.
func (m *model) replay() {
	var ends []time.Time
	var began time.Time // of the life of the current plugin
	attempt, decided, resting := 0, true, false
	for _, e := range m.events {
		switch e.Kind { //nolint:exhaustive // the others decide nothing
		case KindReady:
			began = e.Time
		case KindSwapped:
			ends, attempt, resting = nil, 0, false
		case KindIdle:
			ends, attempt, resting = nil, 0, true
		case KindStarting:
			if e.Attempt > 0 && !m.idles {
				attempt = max(attempt, 1) // a pause ends with a first attempt; the start of an idle handle is none
			}
		case KindExited, KindStartFailed:
			if e.Kind == KindStartFailed && e.Attempt == 0 {
				continue // a swap, which is not an end
			}
			if e.Kind == KindExited && resting {
				resting = false
				continue // the plugin was stopped because it was idle
			}
			if e.Kind == KindExited && e.Time.Sub(began) >= m.policy.StableAfter {
				attempt = 0
			}
			ends, decided = append(ends, e.Time), false
		case KindRestarting, KindGaveUp:
			if decided {
				m.t.Errorf("%q at %v without an end", e.Kind, e.Time)
			}
			decided = true
			recent := 0
			for _, end := range ends {
				if e.Time.Sub(end) <= m.policy.Window {
					recent++
				}
			}
			if tooMany := recent >= m.policy.MaxEnds; tooMany != (e.Kind == KindGaveUp) {
				m.t.Errorf("%q at %v after %d ends of %d", e.Kind, e.Time, recent, m.policy.MaxEnds)
			}
			if e.Kind == KindGaveUp {
				ends, attempt = nil, 0
				continue
			}
			attempt++
			want := time.Duration(0)
			if attempt > 1 {
				want = min(m.policy.Delay<<min(attempt-2, 20), m.policy.MaxDelay)
			}
			if e.Attempt != attempt || e.Delay > want || e.Delay < want*4/5-1 {
				m.t.Errorf("attempt %d after %v, want attempt %d after %v", e.Attempt, e.Delay, attempt, want)
			}
		}
	}
}

// TestSoakModel takes random steps: ends, kills, hangs, swaps, calls whose contexts end,
// starts that are slow or fail. It compares each handle with a model of its states.
func TestSoakModel(t *testing.T) {
	t.Parallel()
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for life := range modelSteps() / stepsOfALife {
		name := strconv.Itoa(life)
		synctest.Test(t, func(t *testing.T) {
			m := &model{t: t, rnd: rnd, f: new(factory), idles: rnd.IntN(2) == 0, policy: Policy{MaxEnds: 1 + rnd.IntN(6), StableAfter: 30 * time.Second, Pause: time.Duration(1+rnd.IntN(20)) * time.Second}}
			m.policy, _ = m.policy.withDefaults()
			m.h = startQuiet(t, m)
			m.f.set(m.prepare)
			for range stepsOfALife {
				m.step()
				m.check()
			}
			m.finish()
		})
		if t.Failed() {
			t.Fatalf("-supervise.seed %d, life %s", seed, name)
		}
	}
}

// startQuiet starts the handle of a model, without a log.
func startQuiet(t *testing.T, m *model) *Handle {
	t.Helper()
	cfg := fakeConfig(t, WithPolicy(m.policy), WithListener(m.listen), WithLogger(discard),
		WithHealth(Health{Interval: 2 * time.Second, Timeout: time.Second, Failures: 2}))
	if m.idles {
		cfg.lazy, cfg.idle = true, 5*time.Second
		return startIdle(t.Context(), "fake", &plan{launch: m.f.launch, config: cfg})
	}
	h, err := start(t.Context(), m.f.launch, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
