package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// fakeGroup is a group of fake plugins, with a factory for each member.
type fakeGroup struct {
	*Group
	t *testing.T

	mu        sync.Mutex // guards factories
	factories map[string]*factory
}

// newFakeGroup returns a group without members. The test closes it.
func newFakeGroup(t *testing.T, opts ...GroupOption) *fakeGroup {
	t.Helper()
	g, err := NewGroup(append([]GroupOption{WithLogger(discard), withInit(func(_ context.Context, p *fakePlugin) error {
		p.set(func() { p.initialized = true })
		return nil
	})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeGroup{Group: g, t: t, factories: make(map[string]*factory)}
	g.launcher = func(s Spec) launcher { return f.of(s.Name).launch }
	return f
}

// of returns the factory of a member.
func (g *fakeGroup) of(name string) *factory {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.factories[name]
	if f == nil {
		f = new(factory)
		g.factories[name] = f
	}
	return f
}

// handle returns the handle of a member.
func (g *fakeGroup) handle(name string) *Handle {
	g.t.Helper()
	h, err := g.Member(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

// apply is an Apply that must succeed.
func (g *fakeGroup) apply(specs ...Spec) {
	g.t.Helper()
	if err := g.Apply(g.t.Context(), specs...); err != nil {
		g.t.Fatal(err)
	}
}

// call makes a call to a member that must be answered, and returns the number of the plugin.
func (g *fakeGroup) call(name string) int {
	g.t.Helper()
	n, err := call(g.t.Context(), g.handle(name))
	if err != nil {
		g.t.Errorf("call to %s: %v", name, err)
	}
	return n
}

func (g *fakeGroup) end() {
	g.t.Helper()
	if err := g.Close(); err != nil {
		g.t.Errorf("close: %v", err)
	}
	synctest.Wait()
}

// spec returns a spec with revision 1, which the change changes.
func spec(name string, change ...func(*Spec)) Spec {
	s := Spec{Name: name, Revision: "1", Launch: func(context.Context) (*host.Plugin, error) { return nil, errBroken }}
	for _, f := range change {
		f(&s)
	}
	return s
}

func needing(names ...string) func(*Spec) { return func(s *Spec) { s.Needs = names } }
func revision(r string) func(*Spec)       { return func(s *Spec) { s.Revision = r } }
func optional(s *Spec)                    { s.Optional = true }
func lazy(s *Spec)                        { s.Lazy = true }
func idle(d time.Duration) func(*Spec)    { return func(s *Spec) { s.Idle = d } }

// slowly makes starts take d.
func slowly(d time.Duration) func(context.Context, *fakePlugin) error {
	return func(ctx context.Context, _ *fakePlugin) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A group starts its members, and the members that others need first. It stops them in the
// other order.
func TestGroupOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		var mu sync.Mutex
		var began []string
		specs := []Spec{spec("web", needing("words", "store")), spec("words", needing("store")), spec("store"), spec("alone")}
		for _, s := range specs {
			g.of(s.Name).set(func(ctx context.Context, p *fakePlugin) error {
				mu.Lock()
				began = append(began, s.Name)
				mu.Unlock()
				p.slow = time.Second
				return slowly(time.Second)(ctx, p)
			})
		}
		start := time.Now()
		g.apply(specs...)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("the start took %v", took)
		}
		if slices.Sort(began[:2]); !slices.Equal(began, []string{"alone", "store", "words", "web"}) {
			t.Errorf("started in the order %v", began)
		}
		for _, s := range g.State() {
			if s.Phase != PhaseReady || s.Optional {
				t.Errorf("%+v", s)
			}
			g.call(s.Name)
		}
		for i, name := range []string{"web", "words", "store"} {
			go func() {
				<-g.of(name).last().Done()
				if took := time.Since(start); took != time.Duration(i+4)*time.Second {
					t.Errorf("%s ended after %v", name, took)
				}
			}()
		}
		g.end()
		if _, err := call(t.Context(), g.members["web"].handle); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a call to a closed group: %v", err)
		}
		if err := g.Apply(t.Context(), specs...); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a change of a closed group: %v", err)
		}
	})
}

// Mistakes in specs and options are errors that name the place, and nothing is started.
func TestGroupMistakes(t *testing.T) {
	t.Parallel()
	for want, specs := range map[string][]Spec{
		"a spec has no name":                           {spec("")},
		"plugin a: the launch function is nil":         {{Name: "a"}},
		"plugin a: Idle is -1ns: want at least 0":      {spec("a", idle(-1))},
		"plugin a: duplicate name":                     {spec("a"), spec("a")},
		"plugin a needs plugin b, which is not in the": {spec("a", needing("b"))},
		"plugin a: supervise.WithHold(-1ns)":           {spec("a", func(s *Spec) { s.Options = []Option{WithHold(-1)} })},
		"a cycle of needs: a needs a":                  {spec("a", needing("a"))},
		"a cycle of needs: b needs c needs d needs b":  {spec("a", needing("b")), spec("b", needing("c")), spec("c", needing("d")), spec("d", needing("b"))},
	} {
		g := newFakeGroup(t)
		if err := g.Apply(t.Context(), specs...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if len(g.State()) > 0 || g.of("a").count() > 0 {
			t.Errorf("%q: something was started", want)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := NewGroup(WithParallelStarts(0), WithHold(-1)); err == nil ||
		!strings.Contains(err.Error(), "WithParallelStarts(0)") || !strings.Contains(err.Error(), "WithHold(-1ns)") {
		t.Error(err)
	}
	g := newFakeGroup(t)
	if _, err := g.Member("a"); err == nil || err.Error() != `the group has no plugin "a": it has none` {
		t.Error(err)
	}
	if err := g.Swap(t.Context(), map[string]LaunchFunc{"a": nil}); err == nil {
		t.Error("a launch function that is nil was accepted")
	}
	if err := g.swap(t.Context(), map[string]launcher{"a": new(factory).launch}); err == nil {
		t.Error("a plugin that is no member was swapped")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// A required plugin that cannot be started is an error that names it, and nothing is left.
// An optional plugin is reported, and is started again later.
func TestRequiredPluginSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := new(recorder)
		g := newFakeGroup(t, WithListener(events.listen))
		defer g.end()
		g.of("broken").set(failing(errBroken))
		err := g.Apply(t.Context(), spec("broken"), spec("needs", needing("broken")), spec("more", needing("needs")), spec("good"))
		if want := "apply: the group is as it was: plugin broken: broken"; !errors.Is(err, errBroken) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if len(g.State()) > 0 {
			t.Errorf("the group has members: %+v", g.State())
		}
		<-g.of("good").last().Done()
		synctest.Wait()
		events.take()

		g.apply(spec("broken", optional), spec("good"))
		synctest.Wait()
		if s := g.State()[0]; s.Name != "broken" || !s.Optional || s.Phase == PhaseReady || !errors.Is(s.Err, errBroken) {
			t.Errorf("the state of the optional plugin: %+v", s)
		}
		if kinds := events.take(); !slices.Contains(kinds, KindStartFailed) {
			t.Errorf("events %v", kinds)
		}
		if _, err := call(t.Context(), g.handle("broken")); status.Code(err) != codes.Unavailable || !errors.Is(err, errBroken) {
			t.Errorf("a call: %v", err)
		}
		g.of("broken").set(nil)
		if _, err := call(t.Context(), g.handle("broken"), grpc.WaitForReady(true)); err != nil {
			t.Errorf("a call that waits: %v", err)
		}
	})
}

// What a required plugin needs must start too, also if it is optional for the host.
func TestNeedThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.of("a").set(failing(Permanent(errBroken)))
		err := g.Apply(t.Context(), spec("a", optional), spec("b", needing("a")))
		if want := "plugin b: it needs plugin a: plugin a is down until it is restarted: broken"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	})
}

// No more plugins than the bound are in their start at once, and the bound is used.
func TestParallelStarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const bound, members = 7, 100
		var now, most atomic.Int64
		g := newFakeGroup(t, WithParallelStarts(bound))
		defer g.end()
		var specs []Spec
		for i := range members {
			s := spec(fmt.Sprintf("p%02d", i))
			g.of(s.Name).set(func(ctx context.Context, p *fakePlugin) error {
				n := now.Add(1)
				defer now.Add(-1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				return slowly(time.Second)(ctx, p)
			})
			specs = append(specs, s)
		}
		began := time.Now()
		g.apply(specs...)
		if took := time.Since(began); most.Load() != bound || took != (members+bound-1)/bound*time.Second {
			t.Errorf("%d at once, in %v", most.Load(), took)
		}
		most.Store(0)
		for i := range specs {
			specs[i].Revision = "2"
		}
		g.apply(specs...)
		if most.Load() != bound {
			t.Errorf("%d swaps at once", most.Load())
		}
	})
}

// A reload does not touch what did not change, swaps what did without a failed call, starts
// what is new and stops what is gone.
func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.apply(spec("same"), spec("changed"), spec("gone"), spec("unknown", revision("")))
		handle := g.handle("changed")
		stop := make(chan struct{})
		var callers sync.WaitGroup
		for _, name := range []string{"same", "changed", "unknown"} {
			h := g.handle(name)
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					if _, err := call(t.Context(), h); err != nil {
						t.Errorf("a call to %s: %v", name, err)
					}
				}
			})
		}
		g.of("changed").set(slowly(time.Second))
		gone, goneHandle := g.of("gone").last(), g.handle("gone")
		g.apply(spec("same", optional), spec("changed", revision("2")), spec("new"), spec("unknown", revision("")))
		close(stop)
		callers.Wait()
		<-gone.Done()
		synctest.Wait()
		for name, want := range map[string]int{"same": 1, "changed": 2, "new": 1, "unknown": 2} {
			if n := g.call(name); n != want {
				t.Errorf("%s: plugin %d, want %d", name, n, want)
			}
		}
		if g.handle("changed") != handle {
			t.Error("a changed member has another handle")
		}
		if _, err := g.Member("gone"); err == nil || err.Error() != `the group has no plugin "gone": it has changed, new, same, unknown` {
			t.Error(err)
		}
		if _, err := call(t.Context(), goneHandle); status.Code(err) != codes.Unavailable {
			t.Errorf("a call to a member that is gone: %v", err)
		}
		if s := g.State(); len(s) != 4 || !s[2].Optional {
			t.Errorf("%+v", s)
		}
	})
}

// A reload that fails part way, in whatever way, leaves all members as they were: also the
// ones whose new plugins were ready.
func TestGroupReloadHalfDone(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(context.Context, *fakePlugin) error{
		"it does not start": failing(errBroken),
		"it speaks another version": func(_ context.Context, p *fakePlugin) error {
			p.protocol = protocol.New("fake", 2)
			return nil
		},
		"it takes too long": slowly(time.Hour),
		"it ends while the others start": func(_ context.Context, p *fakePlugin) error {
			time.AfterFunc(time.Second, p.kill)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(t)
				defer g.end()
				g.apply(spec("a"), spec("b"), spec("gone"))
				before := g.State()
				g.of("a").set(slowly(2 * time.Second))
				g.of("b").set(prepare)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				for range 2 {
					err := g.Apply(ctx, spec("a", revision("2")), spec("b", revision("2")), spec("new"))
					if err == nil || !strings.HasPrefix(err.Error(), "apply: the group is as it was: ") || !strings.Contains(err.Error(), "b") {
						t.Errorf("%v", err)
					}
					if name == "it takes too long" {
						if want := "context deadline exceeded before these plugins were ready: b"; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
							t.Errorf("%v, want %s", err, want)
						}
						break
					}
				}
				synctest.Wait()
				if after := g.State(); !slices.Equal(before, after) {
					t.Errorf("the group changed from %+v to %+v", before, after)
				}
				for member, f := range g.factories {
					for i, p := range f.plugins {
						if member != "new" && i == 0 {
							continue
						}
						select {
						case <-p.Done():
						default:
							t.Errorf("plugin %d of %s is left", i+1, member)
						}
					}
				}
				g.of("b").set(nil)
				g.apply(spec("a", revision("2")), spec("b", revision("2")))
			})
		})
	}
}

// A change is used by all later starts: options and launch function belong together.
func TestGroupConfigurationIsUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		var initialized []string
		configured := func(value string) func(*Spec) {
			return func(s *Spec) {
				s.Revision = value
				s.Options = []Option{withInit(func(_ context.Context, p *fakePlugin) error {
					initialized = append(initialized, value)
					p.set(func() { p.initialized = true })
					return nil
				})}
			}
		}
		restart := func() {
			g.of("a").last().kill()
			if _, err := call(t.Context(), g.handle("a"), grpc.WaitForReady(true)); err != nil {
				t.Error(err)
			}
		}
		g.apply(spec("a", configured("old")))
		restart()
		g.apply(spec("a", configured("new")))
		restart()
		g.of("a").set(failing(errBroken))
		if err := g.Apply(t.Context(), spec("a", configured("broken"))); err == nil {
			t.Error("a broken version was swapped in")
		}
		g.of("a").set(nil)
		restart()
		if want := []string{"old", "old", "new", "new", "new"}; !slices.Equal(initialized, want) {
			t.Errorf("initialized with %v, want %v", initialized, want)
		}
	})
}

// A set of plugins is swapped all or none, and none before all are ready.
func TestGroupSwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		specs := []Spec{spec("a"), spec("b"), spec("c")}
		g.apply(specs...)
		old := g.of("a").last()
		fast, slow, broken := new(factory), new(factory), new(factory)
		slow.set(slowly(time.Minute))
		broken.set(failing(errBroken))
		err := g.swap(t.Context(), map[string]launcher{"a": fast.launch, "b": broken.launch})
		if want := "swap: the group is as it was: plugin b: broken"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if fast.count() != 1 || g.handle("a").target.Load().plugin != old {
			t.Error("a plugin was swapped though another one is broken")
		}
		done := make(chan error)
		go func() { done <- g.swap(t.Context(), map[string]launcher{"a": fast.launch, "b": slow.launch}) }()
		time.Sleep(time.Minute - 1)
		if g.handle("a").target.Load().plugin != old {
			t.Error("a plugin was swapped before the other one was ready")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if g.handle("a").target.Load().plugin != fast.last() || g.handle("b").target.Load().plugin != slow.last() {
			t.Error("not all plugins were swapped")
		}
		g.apply(specs...)
		if g.handle("a").target.Load().plugin != g.of("a").last() || g.of("c").count() != 1 {
			t.Error("the next Apply did not bring the members back to their specs")
		}
	})
}

// A lazy member is started by its first call, which waits for it, and with what it needs.
func TestLazy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, WithHold(time.Millisecond)) // shorter than a start
		defer g.end()
		g.apply(spec("a", lazy), spec("b", lazy, needing("a")), spec("c", lazy))
		for _, s := range g.State() {
			if s.Phase != PhaseIdle || g.of(s.Name).count() > 0 {
				t.Errorf("%+v", s)
			}
		}
		if g.handle("b").Protocol() != nil {
			t.Error("a protocol is known before the first start")
		}
		for _, name := range []string{"a", "b"} {
			g.of(name).set(slowly(time.Second))
		}
		began := time.Now()
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() { g.call("b") })
		}
		callers.Wait()
		if took := time.Since(began); took != 2*time.Second || g.of("a").count() != 1 || g.of("b").count() != 1 || g.of("c").count() != 0 {
			t.Errorf("after %v: %d, %d and %d launches", took, g.of("a").count(), g.of("b").count(), g.of("c").count())
		}
		g.of("c").set(slowly(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := call(ctx, g.handle("c")); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "plugin c is being started") {
			t.Errorf("a call whose context ends: %v", err)
		}
	})
}

// A lazy member that cannot be started fails its calls, and is not started all the time.
func TestLazyBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, WithHold(time.Hour))
		defer g.end()
		g.of("a").set(failing(errBroken))
		g.apply(spec("a", lazy))
		if _, err := call(t.Context(), g.handle("a")); !errors.Is(err, errBroken) || status.Code(err) != codes.Unavailable {
			t.Errorf("a call: %v", err)
		}
		tried := g.of("a").count()
		time.Sleep(time.Hour)
		if n := g.of("a").count(); tried != DefaultMaxEnds || n != tried || g.State()[0].Phase != PhaseIdle {
			t.Errorf("%d launches at first, %d after an hour without calls: %+v", tried, n, g.State()[0])
		}
		g.of("a").set(nil)
		g.call("a")
	})
}

// A member that nobody calls is stopped, and the next call starts it. No call fails.
func TestIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := new(recorder)
		g := newFakeGroup(t, WithListener(events.listen))
		defer g.end()
		g.apply(spec("a", idle(time.Minute)))
		first := g.of("a").last()
		for range 5 {
			time.Sleep(time.Minute - 1)
			if n := g.call("a"); n != 1 {
				t.Errorf("plugin %d", n)
			}
		}
		long := make(chan error)
		first.set(func() {
			first.slow = time.Second
			first.call = func(context.Context, string) error {
				time.Sleep(time.Hour)
				return nil
			}
		})
		go func() {
			_, err := call(t.Context(), g.handle("a"))
			long <- err
		}()
		if err := <-long; err != nil {
			t.Errorf("a long call: %v", err)
		}
		first.set(func() { first.call = nil })
		synctest.Wait()
		events.take()
		time.Sleep(2*time.Minute + time.Millisecond)
		synctest.Wait()
		if s := g.State()[0]; s.Phase != PhaseIdle || s.Plugin != nil || s.Err != nil {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		if n := g.call("a"); n != 2 {
			t.Errorf("plugin %d", n)
		}
		synctest.Wait()
		if kinds := events.take(); !slices.Equal(kinds, []Kind{KindIdle, KindExited, KindStarting, KindReady}) {
			t.Errorf("events %v", kinds)
		}

		// A call that comes while the plugin is being stopped waits for the next one.
		second := g.of("a").last()
		second.set(func() { second.slow = time.Second })
		time.Sleep(time.Minute)
		synctest.Wait()
		if g.State()[0].Phase != PhaseIdle || hasEnded(second) {
			t.Error("the plugin is not being stopped")
		}
		if n := g.call("a"); n != 3 || !hasEnded(second) {
			t.Errorf("plugin %d, and the last one has ended: %v", n, hasEnded(second))
		}
	})
}

// A member is not idle while a member runs that needs it.
func TestIdleNeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.apply(spec("a", lazy, idle(time.Minute)), spec("b", needing("a"), idle(10*time.Minute)))
		for range 100 {
			time.Sleep(10*time.Minute - 1)
			g.call("b")
		}
		if g.of("a").count() != 1 || g.State()[0].Phase != PhaseReady {
			t.Errorf("%+v", g.State())
		}
		time.Sleep(15 * time.Minute)
		if s := g.State(); s[0].Phase != PhaseIdle || s[1].Phase != PhaseIdle {
			t.Errorf("%+v", s)
		}
		g.call("b")
		if g.of("a").count() != 2 || g.of("b").count() != 2 {
			t.Errorf("%d and %d launches", g.of("a").count(), g.of("b").count())
		}
	})
}

// An open stream is a use of a member. It ends with its last answer or with its context.
func TestIdleStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.of("a").set(func(_ context.Context, p *fakePlugin) error {
			p.stream = func(string) grpc.ClientStream { return new(silentStream) }
			return nil
		})
		g.apply(spec("a", idle(time.Minute)))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, end := range []func(s grpc.ClientStream){
			func(s grpc.ClientStream) { _ = s.RecvMsg(nil) },
			func(grpc.ClientStream) { cancel() },
		} {
			s, err := g.handle("a").NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/fake.Fake/Stream")
			if err != nil {
				t.Fatal(err)
			}
			launches := g.of("a").count()
			time.Sleep(time.Hour)
			if g.of("a").count() != launches || g.State()[0].Phase != PhaseReady {
				t.Errorf("stopped with an open stream: %+v", g.State()[0])
			}
			end(s)
			time.Sleep(3 * time.Minute)
			if g.State()[0].Phase != PhaseIdle {
				t.Errorf("not stopped after the end of the stream: %+v", g.State()[0])
			}
		}
	})
}

// silentStream ends at the first RecvMsg.
type silentStream struct{ grpc.ClientStream }

func (*silentStream) RecvMsg(any) error { return errBroken }

// One Close has one deadline: stuck members do not take the time of the others.
func TestGroupCloseWithStuckMembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		var specs []Spec
		for i := range 100 {
			s := spec(fmt.Sprintf("p%02d", i))
			if i > 0 && i < 10 {
				s.Needs = []string{"p00"}
			}
			g.of(s.Name).set(func(_ context.Context, p *fakePlugin) error {
				p.slow = time.Second
				if i%10 == 1 {
					p.slow = time.Hour
				}
				return nil
			})
			specs = append(specs, s)
		}
		g.apply(specs...)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		err := g.Shutdown(ctx)
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it took %v", took)
		}
		for name, f := range g.factories {
			stuck, ended := strings.HasSuffix(name, "1"), f.last().Err()
			if !hasEnded(f.last()) || stuck == (ended == nil) {
				t.Errorf("%s ended: %v", name, ended)
			}
		}
		if n := strings.Count(err.Error(), "killed"); n != 10 {
			t.Errorf("%d members are said to be killed: %v", n, err)
		}
		if again := g.Close(); again == nil || again.Error() != err.Error() {
			t.Errorf("a second Close: %v", again)
		}
	})
}

// Close ends an Apply that is under way, and what it has started.
func TestGroupCloseDuringApply(t *testing.T) {
	t.Parallel()
	for _, swapped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newFakeGroup(t)
			g.apply(spec("a"))
			g.of("b").set(slowly(time.Hour))
			g.of("a").set(slowly(time.Second))
			next := []Spec{spec("a"), spec("b")}
			if swapped {
				next[0].Revision = "2"
			}
			done := make(chan error)
			go func() { done <- g.Apply(t.Context(), next...) }()
			time.Sleep(time.Minute)
			began := time.Now()
			g.end()
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Apply: %v", err)
			}
			if time.Since(began) > 0 {
				t.Errorf("Close took %v", time.Since(began))
			}
			for name, f := range g.factories {
				for _, p := range f.plugins {
					if !hasEnded(p) {
						t.Errorf("a plugin of %s is left", name)
					}
				}
			}
		})
	}
}

// A member that is closed by other code is started again by the next Apply.
func TestClosedMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.apply(spec("a"))
		closeHandle(t, g.handle("a"))
		g.apply(spec("a"))
		if n := g.call("a"); n != 2 {
			t.Errorf("plugin %d", n)
		}
	})
}

// An optional member that is broken does not stand in the way of a change of the others. The
// change is used for its later starts.
func TestOptionalMemberStaysBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		permanent := Permanent(errBroken)
		g.of("a").set(failing(permanent))
		withHold := func(d time.Duration) func(*Spec) {
			return func(s *Spec) { s.Options = []Option{WithHold(d)} }
		}
		g.apply(spec("a", optional, withHold(1)), spec("b"))
		before := g.handle("a").target.Load()
		for _, other := range []Spec{spec("b", revision("2")), spec("b", revision("3"))} {
			err := g.Apply(t.Context(), spec("a", optional, revision("2"), withHold(2)), other)
			if (err == nil) != (other.Revision == "2") {
				t.Errorf("%s: %v", other.Revision, err)
			}
			if after := g.handle("a").target.Load(); before.plan.hold != 1 || after.plan.hold != 2 || after.state.Phase != PhaseDown {
				t.Errorf("hold %v, then %v: %+v", before.plan.hold, after.plan.hold, after.state)
			}
			g.of("b").set(failing(errBroken))
		}
		g.of("a").set(nil)
		if err := g.handle("a").Restart(t.Context()); err != nil {
			t.Error(err)
		}
		g.of("a").set(failing(permanent))
		if err := g.Apply(t.Context(), spec("a", optional, revision("3")), spec("b", revision("2"))); err == nil {
			t.Error("an optional plugin that ran was replaced by a broken one")
		}
		if n := g.call("b"); n != 2 {
			t.Errorf("plugin %d", n)
		}
	})
}

// A call that begins in the moment in which a member becomes idle keeps its plugin, however
// long the call takes.
func TestCallWhileBecomingIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		cfg := fakeConfig(t)
		cfg.idle = time.Minute
		var h *Handle
		cfg.wanted = func() bool { // after the look at the calls
			h.usage.begin()
			return false
		}
		h = startIdle(t.Context(), "fake", &plan{launch: f.launch, config: cfg})
		defer closeHandle(t, h)
		if _, err := call(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s := h.State(); s.Phase != PhaseReady || f.count() != 1 || hasEnded(f.last()) {
			t.Errorf("%+v after %d launches", s, f.count())
		}
	})
}

// A reload starts a member that is down, also if nothing else has changed: Apply must not
// report success for a group that lacks a required member.
func TestReloadOfAMemberThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.apply(spec("a"), spec("b", optional), spec("c"))
		for _, name := range []string{"a", "b"} {
			g.of(name).set(failing(Permanent(errBroken)))
			g.of(name).last().kill()
		}
		synctest.Wait()
		specs := []Spec{spec("a"), spec("b", optional), spec("c")}
		const want = "apply: the group is as it was: plugin a: broken"
		if err := g.Apply(t.Context(), specs...); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		g.of("a").set(nil)
		g.apply(specs...)
		g.call("a")
		if phase := g.handle("b").State().Phase; phase != PhaseDown {
			t.Errorf("the optional member that is broken is %s", phase)
		}
		g.of("b").set(nil)
		g.apply(specs...)
		g.call("b")
		if n := g.call("c"); n != 1 {
			t.Errorf("a member that was not down has plugin %d", n)
		}
	})
}

// The first start of a member, also one after an idle time, is not a restart. So the restart
// after its first end is at once.
func TestFirstEndOfAMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t)
		defer g.end()
		g.apply(spec("a"), spec("b", lazy, idle(time.Minute)))
		g.call("b")
		time.Sleep(3 * time.Minute)
		g.call("b")
		for _, name := range []string{"a", "b"} {
			if s := g.handle(name).State(); s.Attempt != 0 {
				t.Errorf("%s: attempt %d before any end", name, s.Attempt)
			}
			g.of(name).last().kill()
			began := time.Now()
			if _, err := call(t.Context(), g.handle(name), grpc.WaitForReady(true)); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: the first restart has waited %v", name, took)
			}
		}
	})
}

// A change of an optional member that is broken is used for its later starts, also if the
// member has not stopped yet because it was idle, or is in its start.
func TestChangeOfABrokenMemberWhileItStops(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(g *fakeGroup, idle *fakePlugin){
		"stopping": func(*fakeGroup, *fakePlugin) {},
		"starting": func(g *fakeGroup, stopping *fakePlugin) {
			g.of("b").set(slowly(time.Second))
			go func() { _, _ = call(g.t.Context(), g.handle("b"), grpc.WaitForReady(true)) }()
			<-stopping.Done()
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(t)
				g.t = t
				defer g.end()
				g.of("b").set(func(_ context.Context, p *fakePlugin) error {
					p.slow = 9 * time.Second
					return nil
				})
				g.apply(spec("a"), spec("b", optional, needing("a"), idle(time.Minute)))
				stopping := g.of("b").last()
				time.Sleep(time.Minute + time.Second)
				if phase := g.handle("b").State().Phase; phase != PhaseIdle || hasEnded(stopping) {
					t.Fatalf("%s, %v", phase, hasEnded(stopping))
				}
				prepare(g, stopping)
				g.of("b").set(failing(errBroken))
				g.apply(spec("b", optional, revision("2"), idle(time.Minute)))
				g.of("b").set(nil)
				time.Sleep(20 * time.Second) // the old plugin has stopped, and a is gone
				g.call("b")
				g.of("b").last().kill()
				if _, err := call(t.Context(), g.handle("b"), grpc.WaitForReady(true)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A call that waited while its member got an idle time counts as a use of the new plugin,
// which is not stopped during the call.
func TestCallThatOutlivesAChangeOfIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, swapped := new(factory), new(factory)
		h := startFake(t, f)
		f.set(func(ctx context.Context, _ *fakePlugin) error {
			<-ctx.Done()
			return ctx.Err()
		})
		f.last().kill()
		synctest.Wait()
		result := make(chan error)
		go func() {
			_, err := call(t.Context(), h, grpc.WaitForReady(true))
			result <- err
		}()
		release := make(chan struct{})
		swapped.set(func(_ context.Context, p *fakePlugin) error {
			p.call = func(context.Context, string) error {
				select {
				case <-release:
					return nil
				case <-p.Done():
					return lost()
				}
			}
			return nil
		})
		synctest.Wait()
		next := &plan{launch: swapped.launch, config: fakeConfig(t)}
		next.idle = time.Minute
		if err := h.request(newSwap(t.Context(), &swap{plan: next}, nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		close(release)
		if err := <-result; err != nil {
			t.Error(err)
		}
		closeHandle(t, h)
	})
}

// A stream that waited while its member got an idle time counts like a call.
func TestStreamThatOutlivesAChangeOfIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, swapped := new(factory), new(factory)
		h := startFake(t, f)
		f.set(func(ctx context.Context, _ *fakePlugin) error {
			<-ctx.Done()
			return ctx.Err()
		})
		f.last().kill()
		synctest.Wait()
		opened := make(chan grpc.ClientStream)
		go func() {
			s, err := h.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/fake.Fake/Stream", grpc.WaitForReady(true))
			if err != nil {
				t.Error(err)
			}
			opened <- s
		}()
		synctest.Wait()
		swapped.set(func(_ context.Context, p *fakePlugin) error {
			p.stream = func(string) grpc.ClientStream { return new(silentStream) }
			return nil
		})
		next := &plan{launch: swapped.launch, config: fakeConfig(t)}
		next.idle = time.Minute
		if err := h.request(newSwap(t.Context(), &swap{plan: next}, nil)); err != nil {
			t.Fatal(err)
		}
		stream := <-opened
		time.Sleep(time.Hour)
		if phase := h.State().Phase; phase != PhaseReady {
			t.Errorf("with an open stream the handle is %s", phase)
		}
		_ = stream.RecvMsg(nil) // ends the stream
		time.Sleep(3 * time.Minute)
		if phase := h.State().Phase; phase != PhaseIdle {
			t.Errorf("after the end of the stream the handle is %s", phase)
		}
		closeHandle(t, h)
	})
}
