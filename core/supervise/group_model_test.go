package supervise

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
)

// groupSteps is how many changes TestSoakGroupModel makes. The soak makes a hundred
// thousand.
func groupSteps() int {
	if os.Getenv("PLUGWIRE_SOAK") == "full" {
		return 100_000
	}
	return 400
}

var groupSeed = flag.Uint64("supervise.groupseed", 0, "seed of the random steps of TestSoakGroupModel; 0 for a new one")

// stepsOfAGroup is how many changes a group of the model sees.
const stepsOfAGroup = 40

// groupModel is what must hold for a group, whatever happens to it.
type groupModel struct {
	t     *testing.T
	g     *fakeGroup
	bound int64
	busy  atomic.Int64 // starts that go on

	mu      sync.Mutex // guards the fields below
	rnd     *rand.Rand
	broken  map[string]bool // members whose starts fail
	killing bool            // plugins are killed in this step
	specs   []Spec          // of the last change that was made
}

func (m *groupModel) below(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rnd.IntN(n)
}

// prepare is what each start of a member does.
func (m *groupModel) prepare(name string) func(context.Context, *fakePlugin) error {
	return func(ctx context.Context, p *fakePlugin) error {
		if n := m.busy.Add(1); n > m.bound {
			m.t.Errorf("%d plugins are in their start, and the bound is %d", n, m.bound)
		}
		defer m.busy.Add(-1)
		p.slow = time.Duration(m.below(2000)) * time.Millisecond
		if err := slowly(time.Duration(m.below(1000))*time.Millisecond)(ctx, p); err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.broken[name] {
			return errBroken
		}
		return nil
	}
}

// random returns random specs. A member needs only members before it.
func (m *groupModel) random() []Spec {
	var specs []Spec
	for i := range 6 {
		if m.below(4) == 0 {
			continue
		}
		s := spec(fmt.Sprintf("p%d", i), revision(strconv.Itoa(m.below(3)))) // revision 0 is one too
		for _, other := range specs {
			if m.below(4) == 0 {
				s.Needs = append(s.Needs, other.Name)
			}
		}
		s.Optional, s.Lazy = m.below(3) == 0, m.below(3) == 0
		if m.below(3) == 0 {
			s.Idle = time.Duration(1+m.below(20)) * time.Second
		}
		specs = append(specs, s)
	}
	return specs
}

// targets returns which plugins take calls.
func (m *groupModel) targets() map[string]instance {
	m.g.Group.mu.Lock()
	defer m.g.Group.mu.Unlock()
	targets := make(map[string]instance)
	for name, member := range m.g.members {
		targets[name] = member.handle.target.Load().plugin
	}
	return targets
}

// step changes the group, while callers call what is there before and after.
func (m *groupModel) step() {
	broken := make(map[string]bool)
	for i := range 6 {
		broken[fmt.Sprintf("p%d", i)] = m.below(6) == 0
	}
	killing := m.below(3) == 0
	m.mu.Lock()
	m.broken, m.killing = broken, killing
	before := m.specs
	m.mu.Unlock()
	old := m.targets()
	next := m.random()
	stop := m.call(before, next)
	if killing {
		for _, p := range old {
			if p != nil && m.below(3) == 0 {
				time.AfterFunc(time.Duration(m.below(3000))*time.Millisecond, p.(*fakePlugin).kill)
			}
		}
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Duration(1+m.below(20))*time.Second)
	defer cancel()
	var err error
	if m.below(4) == 0 {
		launchers := make(map[string]launcher)
		for _, s := range before {
			if m.below(2) == 0 {
				launchers[s.Name] = m.g.of(s.Name).launch
			}
		}
		next = before
		err = m.g.swap(ctx, launchers, WithGrace(time.Second))
		if err == nil {
			for name := range launchers {
				if m.targets()[name] == old[name] {
					m.t.Errorf("%s was not swapped", name)
				}
			}
		}
	} else {
		err = m.g.Apply(ctx, next...)
	}
	if err != nil {
		next = before
	}
	m.mu.Lock()
	m.specs = next
	m.mu.Unlock()
	if killing {
		time.Sleep(3 * time.Second) // until all kills have happened
	}
	stop()
	m.check(err, old, next, killing)
	if m.below(4) == 0 {
		time.Sleep(time.Duration(m.below(60))*time.Second + 2*host.DefaultGrace)
		m.checkLeft()
	}
}

// checkLeft checks that only members have plugins, some time after a change.
func (m *groupModel) checkLeft() {
	synctest.Wait()
	members := m.targets()
	for name, f := range m.g.factories {
		living := 0
		for _, p := range f.plugins {
			if !hasEnded(p) {
				living++
			}
		}
		if _, ok := members[name]; living > 1 || living > 0 && !ok {
			m.t.Errorf("%d plugins of %s live (%v)", living, name, ok)
		}
	}
}

// call calls the members that are in both lists until stop. No call fails if nothing is
// killed or broken, and was not before.
func (m *groupModel) call(before, after []Spec) (stop func()) {
	m.mu.Lock()
	quiet := !m.killing
	for _, b := range m.broken {
		quiet = quiet && !b
	}
	m.mu.Unlock()
	for _, s := range m.g.State() {
		quiet = quiet && (s.Phase == PhaseReady || s.Phase == PhaseIdle)
	}
	done := make(chan struct{})
	var callers sync.WaitGroup
	for _, s := range before {
		if !slices.ContainsFunc(after, func(other Spec) bool { return other.Name == s.Name }) {
			continue
		}
		h := m.g.handle(s.Name)
		callers.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(100 * time.Millisecond):
				}
				ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
				_, err := call(ctx, h, grpc.WaitForReady(true))
				cancel()
				if err != nil && quiet {
					m.t.Errorf("a call to %s: %v", s.Name, err)
				}
			}
		})
	}
	return func() {
		close(done)
		callers.Wait()
		synctest.Wait()
	}
}

// check compares the group with what the change should have made of it.
func (m *groupModel) check(err error, old map[string]instance, specs []Spec, killing bool) {
	var want []string
	for _, s := range specs {
		want = append(want, s.Name)
	}
	slices.Sort(want)
	now := m.targets()
	if got := slices.Sorted(maps.Keys(now)); !slices.Equal(got, want) {
		m.t.Errorf("after %v the group has %v, want %v", err, got, want)
	}
	if err == nil || killing {
		return
	}
	for name, p := range old {
		if p == nil || hasEnded(p) || now[name] == nil {
			continue // it was in a gap, or has become idle
		}
		if now[name] != p {
			m.t.Errorf("%s was replaced though the change failed: %v", name, err)
		}
	}
}

// TestSoakGroupModel changes groups at random, with members that are broken, killed, lazy or
// idle. A change is made for all members or for none, no more starts than the bound go on,
// and nothing is left after Close.
func TestSoakGroupModel(t *testing.T) {
	t.Parallel()
	seed := *groupSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for life := range groupSteps() / stepsOfAGroup {
		synctest.Test(t, func(t *testing.T) {
			m := &groupModel{t: t, rnd: rnd, bound: int64(1 + rnd.IntN(4))}
			m.g = newFakeGroup(t, WithParallelStarts(int(m.bound)), WithLogger(slog.New(slog.DiscardHandler)))
			for i := range 6 {
				name := fmt.Sprintf("p%d", i)
				m.g.of(name).set(m.prepare(name))
			}
			for range stepsOfAGroup {
				m.step()
			}
			_ = m.g.Close() // the last plugins may have been killed
			synctest.Wait()
			for name, f := range m.g.factories {
				for _, p := range f.plugins {
					if !hasEnded(p) {
						t.Errorf("plugin %d of %s is left", p.number, name)
					}
				}
			}
		})
		if t.Failed() {
			t.Fatalf("-supervise.groupseed %d, life %d", seed, life)
		}
	}
}
