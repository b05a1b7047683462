package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/plugwire/plugwire/core/host"
)

// Apply makes the group consist of the members that specs describe. The first Apply starts
// the group. Each further one reloads it: a member whose spec did not change is not
// touched. A changed one, or one that is down, is replaced as by [Handle.Swap], and a new one
// is started. One that is gone is stopped with a grace of [host.DefaultGrace].
//
// Apply does all or nothing. No call goes to a new plugin, and no old one is stopped, before
// all new ones are initialized and healthy. An error names each member that failed and why,
// and then the group is as it was. A new lazy member is not started. A changed member is,
// also a lazy one: otherwise Apply could not tell whether it works. An optional member that
// did not run before may still fail: that is not an error.
//
// A member that needs others is started after them. It sees their old plugins until the
// switch. ctx bounds the starts. Changes of one group happen one after the other.
func (g *Group) Apply(ctx context.Context, specs ...Spec) error {
	byName, err := checkSpecs(specs)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	next := make(map[string]*member, len(byName))
	var errs []error
	for name, s := range byName {
		m, err := g.newMember(s)
		next[name] = m
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	ctx, end, err := g.begin(ctx)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	defer end()
	if err := g.prepare(ctx, next).run(ctx); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

// Swap replaces the plugins of some members, all or none: no call goes to a new plugin
// before all of them are initialized and healthy. The rest is as for [Handle.Swap]. The
// options count for each. The next [Group.Apply] replaces these members again.
func (g *Group) Swap(ctx context.Context, launches map[string]LaunchFunc, opts ...SwapOption) error {
	launchers := make(map[string]launcher, len(launches))
	for name, launch := range launches {
		if launch == nil {
			return fmt.Errorf("swap plugin %s: the launch function is nil", name)
		}
		launchers[name] = launch.launcher()
	}
	return g.swap(ctx, launchers, opts...)
}

func (g *Group) swap(ctx context.Context, launchers map[string]launcher, opts ...SwapOption) error {
	ctx, end, err := g.begin(ctx)
	if err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	defer end()
	g.mu.Lock()
	c := newChange(g, maps.Clone(g.members))
	g.mu.Unlock()
	for name, launch := range launchers {
		m := c.next[name]
		if m == nil {
			return fmt.Errorf("swap: the group has no plugin %q: it has %s", name, names(c.next))
		}
		c.parts[name] = &part{
			member: m, prepared: make(chan struct{}), options: opts,
			swap: &plan{launch: launch, config: m.plan.config},
		}
	}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	return nil
}

// prepare compares the members with the next ones. The next ones get handles, and those
// that are new can be found from now on.
func (g *Group) prepare(ctx context.Context, next map[string]*member) *change {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := newChange(g, next)
	g.pending = make(map[string]*member)
	for name, m := range next {
		p := &part{member: m, prepared: make(chan struct{})}
		old := g.members[name]
		switch {
		case old == nil || old.handle.State().Phase == PhaseClosed:
			m.handle = startIdle(ctx, name, m.plan)
			g.pending[name] = m
			if !m.spec.Lazy {
				c.parts[name] = p
			}
		case m.spec.same(old.spec) && old.runs():
			m.handle, m.plan = old.handle, old.plan
		default:
			m.handle, p.swap = old.handle, m.plan
			p.lenient = m.spec.Optional && m.handle.State().Phase != PhaseReady
			c.parts[name] = p
		}
	}
	return c
}

// runs reports whether a member is kept up as its spec says. One that is down is not, and
// neither is one that Swap has changed.
func (m *member) runs() bool {
	t := m.handle.target.Load()
	return t.plan == m.plan && t.state.Phase != PhaseDown
}

// change starts, replaces and stops members of a group, all or none.
type change struct {
	group   *Group
	next    map[string]*member
	parts   map[string]*part // what is started or replaced, by name
	decided chan struct{}    // closed when all will be switched, or none

	mu        sync.Mutex // guards the fields below
	over      bool       // it is decided
	committed bool       // all are switched
	gone      []*member  // what is stopped after the switch
	failed    map[string]error
}

// part is a member that is started or replaced.
type part struct {
	*member
	swap     *plan // of the plugin that replaces another one; nil for a first start
	lenient  bool  // the host can do without it, and it does not run
	options  []SwapOption
	ready    sync.Once
	prepared chan struct{} // closed when it is ready for the switch, or has failed
}

func newChange(g *Group, next map[string]*member) *change {
	return &change{group: g, next: next, parts: make(map[string]*part), decided: make(chan struct{}), failed: make(map[string]error)}
}

// run makes the change.
func (c *change) run(ctx context.Context) error {
	var running sync.WaitGroup
	late := make(chan error, len(c.parts)) // has room for all
	for _, p := range c.parts {
		running.Go(func() { late <- c.start(ctx, p) })
	}
	for _, p := range c.parts {
		<-p.prepared
	}
	c.decide(ctx)
	running.Wait()
	close(late)
	if c.committed {
		if gone := c.gone; len(gone) > 0 {
			c.group.working.Go(func() { c.group.dismiss(gone) })
		}
		var errs []error
		for err := range late {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	c.abort()
	return fmt.Errorf("the group is as it was: %w", c.reason(ctx))
}

// reason returns why nothing was switched.
func (c *change) reason(ctx context.Context) error {
	var errs []error
	var late []string
	for _, name := range slices.Sorted(maps.Keys(c.failed)) {
		switch err := c.failed[name]; {
		case errors.Is(err, errLate):
			late = append(late, name)
		case errors.Is(err, errNeed): // what it needs is in the list
		default:
			errs = append(errs, fmt.Errorf("plugin %s: %w", name, err))
		}
	}
	switch {
	case len(late) > 0:
		errs = append(errs, fmt.Errorf("%w before these plugins were ready: %s", context.Cause(ctx), strings.Join(late, ", ")))
	case len(errs) == 0:
		errs = append(errs, context.Cause(ctx))
	}
	return errors.Join(errs...)
}

var (
	// errLate marks a part that was not ready when the context ended.
	errLate = errors.New("the context has ended")
	// errNeed marks a part that was not started, because another one has failed.
	errNeed = errors.New("a plugin that it needs has failed")
)

// start makes a part ready for the switch. For one that replaces a plugin it returns after
// the switch, with an error if that failed after the decision.
func (c *change) start(ctx context.Context, p *part) error {
	defer p.finish()
	for _, need := range p.spec.Needs {
		other := c.parts[need]
		if other == nil {
			continue
		}
		select {
		case <-other.prepared:
		case <-ctx.Done():
			c.fail(p, errLate)
			return nil
		}
		if c.hasFailed(need) {
			c.fail(p, errNeed)
			return nil
		}
	}
	var err error
	if p.swap != nil {
		err = c.replace(ctx, p)
	} else {
		err = p.handle.first(ctx)
		if p.spec.Optional && ctx.Err() == nil {
			err = nil // the handle has logged it, and starts the plugin again
		}
	}
	if err != nil && ctx.Err() != nil && !p.isPrepared() {
		c.fail(p, errLate)
	}
	if err == nil || ctx.Err() == nil && c.fail(p, err) || !c.isCommitted() {
		return nil
	}
	return fmt.Errorf("plugin %s: %w", p.spec.Name, err)
}

// replace swaps the plugin of a part when it is decided.
func (c *change) replace(ctx context.Context, p *part) error {
	s := &swap{plan: p.swap, gate: func(ctx context.Context, started instance) error { return c.await(ctx, p, started) }}
	if p.lenient {
		s.lenient = func(ctx context.Context, _ error) bool { return c.await(ctx, p, nil) == nil }
	}
	err := p.handle.request(newSwap(ctx, s, p.options))
	if s.used.Load() {
		return nil // the handle has logged it, and starts the plugin again
	}
	return err
}

// await waits for the decision, and returns an error if the part is not switched. started is
// nil for one that has failed and does not matter.
func (c *change) await(ctx context.Context, p *part, started instance) error {
	p.finish()
	var ended <-chan struct{}
	if started != nil {
		ended = started.Done()
	}
	var err error
	select {
	case <-c.decided:
	case <-ended:
		err = fmt.Errorf("it ended before all others were ready: %w", started.Err())
	case <-ctx.Done(): // run sees it too
	}
	if err != nil && c.fail(p, err) {
		return err
	}
	if !c.isCommitted() {
		return errNotAll
	}
	return nil
}

// errNotAll is why a plugin that is ready does not replace another one.
var errNotAll = errors.New("another plugin of the group could not be replaced")

// finish tells that the part is ready for the switch, or has failed.
func (p *part) finish() { p.ready.Do(func() { close(p.prepared) }) }

func (p *part) isPrepared() bool {
	select {
	case <-p.prepared:
		return true
	default:
		return false
	}
}

// fail notes that a part has failed. It returns false if that comes too late.
func (c *change) fail(p *part, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	if c.failed[p.spec.Name] == nil {
		c.failed[p.spec.Name] = err
	}
	return true
}

func (c *change) hasFailed(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed[name] != nil
}

func (c *change) isCommitted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.committed
}

// decide switches all, if none has failed.
func (c *change) decide(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(c.decided)
	c.over = true
	if len(c.failed) > 0 || ctx.Err() != nil {
		return
	}
	c.gone, c.committed = c.group.commit(c.next)
}

// commit makes next the members, and returns those that are gone. Until all others have
// switched, old plugins may need the ones that are gone. It reports false if the group is
// closed.
func (g *Group) commit(next map[string]*member) (gone []*member, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false
	}
	for name, old := range g.members {
		if m := next[name]; m == nil || m.handle != old.handle {
			gone = append(gone, old)
			g.leaving[old] = true
		}
	}
	g.members, g.pending = next, nil
	return gone, true
}

// dismiss stops members that are gone.
func (g *Group) dismiss(gone []*member) {
	ctx, cancel := context.WithTimeout(context.Background(), host.DefaultGrace)
	defer cancel()
	if err := stopMembers(ctx, gone); err != nil {
		gone[0].plan.logger.Warn("plugins that are no longer in the group did not end in good order", slog.Any("error", err))
	}
	for _, m := range gone {
		<-m.handle.Done()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range gone {
		delete(g.leaving, m)
	}
}

// abort stops the members that were being added.
func (c *change) abort() {
	c.group.mu.Lock()
	pending := slices.Collect(maps.Values(c.group.pending))
	c.group.pending = nil
	for _, m := range pending {
		c.group.leaving[m] = true
	}
	c.group.mu.Unlock()
	c.group.dismiss(pending)
}
