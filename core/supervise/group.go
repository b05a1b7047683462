package supervise

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// DefaultParallelStarts keeps a few processors busy. More starts at once take longer each,
// until the first of them is not ready within its time.
const DefaultParallelStarts = 8

// GroupOption changes a [Group]. Each [Option] is one: it counts for all members.
type GroupOption interface {
	applyGroup(g *Group) error
}

type groupOptionFunc func(*Group) error

func (f groupOptionFunc) applyGroup(g *Group) error { return f(g) }

func (f optionFunc) applyGroup(g *Group) error {
	g.options = append(g.options, f)
	return nil
}

// WithParallelStarts sets how many plugins of the group may be in their start at once,
// with restarts and swaps. The default is [DefaultParallelStarts].
func WithParallelStarts(n int) GroupOption {
	return groupOptionFunc(func(g *Group) error {
		if n < 1 {
			return fmt.Errorf("supervise.WithParallelStarts(%d): want at least 1", n)
		}
		g.turns = make(chan struct{}, n)
		return nil
	})
}

// A Group is a set of plugins that are started, replaced and stopped together. Each member
// has a [Handle]. Its methods are safe for concurrent use.
//
//	plugins, err := supervise.NewGroup()
//	if err != nil {
//		return err
//	}
//	defer plugins.Close()
//	if err := plugins.Apply(ctx, specs...); err != nil {
//		return err
//	}
//	words, err := plugins.Member("words")
type Group struct {
	options  []Option // of all members
	turns    chan struct{}
	launcher func(Spec) launcher // tests have instances of their own

	changing chan struct{}   // has a token while an Apply or a Swap is under way
	ctx      context.Context //nolint:containedctx // ends when the group is closed
	cancel   context.CancelFunc
	done     chan struct{} // closed when the group is closed and nothing is left
	working  sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	members map[string]*member
	pending map[string]*member // of the change that is under way: they are not members yet
	leaving map[*member]bool   // they were members, and are being stopped
	closed  bool
}

// member is a plugin of a group.
type member struct {
	spec   Spec
	plan   *plan
	handle *Handle
}

// NewGroup returns a group without members. [Group.Apply] starts them.
func NewGroup(opts ...GroupOption) (*Group, error) {
	g := &Group{
		turns:    make(chan struct{}, DefaultParallelStarts),
		launcher: func(s Spec) launcher { return s.Launch.launcher() },
		changing: make(chan struct{}, 1),
		done:     make(chan struct{}),
		members:  make(map[string]*member),
		leaving:  make(map[*member]bool),
	}
	var errs []error
	for _, o := range opts {
		errs = append(errs, o.applyGroup(g))
	}
	_, err := newConfig(g.options)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

// Member returns the handle of a member. It stays the same until the member leaves the
// group. An initialization that needs another member may call Member too: members that are
// being added count. Name the other member in [Spec.Needs], so that it is ready before.
//
// A member that the caller closes is started again by the next [Group.Apply]. One that the
// caller swaps is replaced by it.
func (g *Group) Member(name string) (*Handle, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.member(name); m != nil {
		return m.handle, nil
	}
	return nil, fmt.Errorf("the group has no plugin %q: it has %s", name, names(g.members))
}

// member returns the member, or the one that is being added. The caller holds mu.
func (g *Group) member(name string) *member {
	if m := g.pending[name]; m != nil {
		return m
	}
	return g.members[name]
}

func names(members map[string]*member) string {
	if len(members) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(members)), ", ")
}

// MemberState is a snapshot of one member. It may get more fields.
type MemberState struct {
	Name string
	// Optional is that of the spec.
	Optional bool
	State
}

// State returns what each member is doing now, in the order of their names.
func (g *Group) State() []MemberState {
	g.mu.Lock()
	defer g.mu.Unlock()
	states := make([]MemberState, 0, len(g.members))
	for _, name := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[name]
		states = append(states, MemberState{Name: name, Optional: m.spec.Optional, State: m.handle.State()})
	}
	return states
}

// newMember returns a member that has no handle yet.
func (g *Group) newMember(s Spec) (*member, error) {
	cfg, err := newConfig(append(slices.Clone(g.options), s.Options...))
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", s.Name, err)
	}
	cfg.lazy, cfg.idle = s.Lazy, s.Idle
	cfg.turn = func(ctx context.Context) (func(), error) { return g.turn(ctx, s.Needs) }
	cfg.wanted = func() bool { return g.wanted(s.Name) }
	return &member{spec: s, plan: &plan{launch: g.launcher(s), config: cfg}}, nil
}

// turn waits until the members in needs are ready, and until fewer plugins than the bound
// are in their start. The start calls done.
func (g *Group) turn(ctx context.Context, needs []string) (done func(), err error) {
	for _, need := range needs {
		h, err := g.need(need)
		if err == nil {
			_, err = h.ready(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("it needs plugin %s: %w", need, err)
		}
	}
	select {
	case g.turns <- struct{}{}:
		return func() { <-g.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// need returns the handle of a member that another one needs. That can be a member that is
// leaving, until the other one has switched to a plugin that does not need it.
func (g *Group) need(name string) (*Handle, error) {
	h, err := g.Member(name)
	if err == nil {
		return h, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for m := range g.leaving {
		if m.spec.Name == name {
			return m.handle, nil
		}
	}
	return nil, err
}

// wanted reports whether a member runs that needs the named one.
func (g *Group) wanted(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, set := range []map[string]*member{g.members, g.pending} {
		for _, m := range set {
			switch m.handle.State().Phase {
			case PhaseIdle, PhaseDown, PhaseClosed:
			default:
				if slices.Contains(m.spec.Needs, name) {
					return true
				}
			}
		}
	}
	return false
}

// errGroupClosed is why a closed group cannot be changed.
var errGroupClosed = fmt.Errorf("the group is closed: %w", net.ErrClosed)

// begin waits until no other change of the group is under way. The context that it returns
// ends also when the group is closed.
func (g *Group) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	select {
	case g.changing <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-g.ctx.Done():
		return nil, nil, errGroupClosed
	}
	if g.ctx.Err() != nil { // both were possible
		<-g.changing
		return nil, nil, errGroupClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.ctx, func() { cancel(errGroupClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		<-g.changing
	}, nil
}

// Close stops all members with a grace of [host.DefaultGrace], as [Group.Shutdown] does.
func (g *Group) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), host.DefaultGrace)
	defer cancel()
	return g.Shutdown(ctx)
}

// Shutdown ends the group and stops all members at once, with one grace for all. A member
// that others need waits for those, but not longer than its share of the grace. Shutdown
// returns how the members ended, nil if all ended in good order. It may be called often
// and by many at once; the shortest grace counts.
func (g *Group) Shutdown(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, host.DefaultGrace)
		defer cancel()
	}
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	members := slices.Collect(maps.Values(g.members))
	others := slices.AppendSeq(slices.Collect(maps.Values(g.pending)), maps.Keys(g.leaving))
	g.mu.Unlock()
	g.cancel()
	if first {
		go g.awaitEnd(members)
	}
	var stopping sync.WaitGroup
	for _, m := range others {
		stopping.Go(func() { _ = m.handle.Shutdown(ctx) }) // the change that adds or removes it reports the error
	}
	err := stopMembers(ctx, members)
	stopping.Wait()
	return errors.Join(err, g.awaitDone(ctx))
}

// awaitEnd closes done when nothing is left.
func (g *Group) awaitEnd(members []*member) {
	g.changing <- struct{}{} // forever: no change begins any more
	g.working.Wait()
	for _, m := range members {
		<-m.handle.Done()
	}
	close(g.done)
}

func (g *Group) awaitDone(ctx context.Context) error {
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
	}
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-g.done:
		return nil
	case <-patience.C:
		return errors.New("the group: a launch or an initialization ignores its context, which has ended")
	}
}

// stopMembers stops members at once. One that others of them need waits for those, but not
// longer than its share of the time: a stuck member costs the others none of theirs.
func stopMembers(ctx context.Context, members []*member) error {
	specs := make(map[string]Spec, len(members))
	stopped := make(map[string]chan struct{}, len(members))
	for _, m := range members {
		specs[m.spec.Name], stopped[m.spec.Name] = m.spec, make(chan struct{})
	}
	heights := heights(specs)
	deadline, _ := ctx.Deadline()
	share := time.Until(deadline) / time.Duration(slices.Max(append(slices.Collect(maps.Values(heights)), 0))+1)
	errs := make([]error, len(members))
	var stopping sync.WaitGroup
	for i, m := range members {
		stopping.Go(func() {
			defer close(stopped[m.spec.Name])
			patience := time.NewTimer(share * time.Duration(heights[m.spec.Name]))
			defer patience.Stop()
			for _, other := range members {
				if !slices.Contains(other.spec.Needs, m.spec.Name) {
					continue
				}
				select {
				case <-stopped[other.spec.Name]:
					continue
				case <-patience.C:
				}
				break
			}
			errs[i] = m.handle.Shutdown(ctx)
		})
	}
	stopping.Wait()
	return errors.Join(errs...)
}
