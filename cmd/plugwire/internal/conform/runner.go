package conform

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"sync"
)

// Runner runs the rules of a suite.
type Runner struct {
	Suite *Suite
	// Command is the program that is checked, with its arguments.
	Command []string
	// Env and WorkDir are those of [Case].
	Env     []string
	WorkDir string
	Profile Profile
	// Select chooses rules by their identifiers; nil means all of the profile.
	Select *regexp.Regexp
	// Parallel is how many checks run at the same time; at least 1.
	Parallel int
	// Begun is called when a check begins, with the number of those that have ended, and
	// the number of all. May be nil. Calls come one at a time.
	Begun func(r *Rule, ended, all int)
	// Done is called for each result, in the order of the rules. May be nil.
	Done func(Result)
}

// Rules returns the rules that are run, in order.
func (r *Runner) Rules() []*Rule {
	var rules []*Rule
	for _, rule := range r.Suite.sorted() {
		if rule.profiles()&r.Profile != 0 && (r.Select == nil || r.Select.MatchString(rule.ID())) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// Run runs the rules. It returns the results in the order of the rules, or the cause of
// the context's end: no process is left then either.
func (r *Runner) Run(ctx context.Context) ([]Result, error) {
	run := &run{Runner: r, byID: map[string]*task{}, rules: map[string]*Rule{}}
	for i := range r.Suite.Rules {
		run.rules[r.Suite.Rules[i].ID()] = &r.Suite.Rules[i]
	}
	for _, rule := range r.Rules() {
		t := &task{rule: rule, done: make(chan struct{})}
		run.tasks = append(run.tasks, t)
		run.byID[rule.ID()] = t
	}
	return run.all(ctx)
}

// run is one run of the rules.
type run struct {
	*Runner
	tasks []*task // in the order of the rules
	byID  map[string]*task
	rules map[string]*Rule // all of the suite, by ID

	mu    sync.Mutex // guards ended, and calls of Begun
	ended int
}

// task is a rule that the runner checks.
type task struct {
	rule    *Rule
	done    chan struct{} // closed when what follows is valid
	result  Result
	blocked bool // it was not checked, because a rule that it needs is broken
}

func (r *run) all(ctx context.Context) ([]Result, error) {
	next := make(chan *task)
	var wg sync.WaitGroup
	for range min(max(1, r.Parallel), len(r.tasks)) {
		wg.Go(func() {
			for t := range next {
				r.one(ctx, t)
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for _, t := range r.byDepth() {
			select {
			case next <- t:
			case <-ctx.Done():
				return
			}
		}
	})
	defer wg.Wait()
	results := make([]Result, 0, len(r.tasks))
	for _, t := range r.tasks {
		select {
		case <-t.done:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		results = append(results, t.result)
		if r.Done != nil {
			r.Done(t.result)
		}
	}
	return results, nil
}

// byDepth returns the tasks so that each comes after those that it needs. Without that,
// all workers could wait for a task that none of them has.
func (r *run) byDepth() []*task {
	depth := map[*task]int{}
	var measure func(t *task) int
	measure = func(t *task) int {
		if _, measured := depth[t]; !measured {
			depth[t] = 0 // a rule that needs itself has no more depth
			for _, need := range r.needs(t) {
				depth[t] = max(depth[t], measure(need)+1)
			}
		}
		return depth[t]
	}
	for _, t := range r.tasks {
		measure(t)
	}
	return slices.SortedStableFunc(slices.Values(r.tasks), func(a, b *task) int { return cmp.Compare(depth[a], depth[b]) })
}

// needs returns what a task needs. A rule that was not chosen is taken for kept, but what
// it needs itself counts.
func (r *run) needs(t *task) []*task {
	var needed []*task
	seen := map[string]bool{}
	var add func(rule *Rule)
	add = func(rule *Rule) {
		for _, id := range rule.Needs {
			if seen[id] {
				continue
			}
			seen[id] = true
			if n := r.byID[id]; n != nil {
				needed = append(needed, n)
			} else if other := r.rules[id]; other != nil {
				add(other)
			}
		}
	}
	add(t.rule)
	return needed
}

// one checks a rule, unless one that it needs is broken.
func (r *run) one(ctx context.Context, t *task) {
	defer close(t.done)
	t.result = Result{Rule: t.rule.ID(), Title: t.rule.Title}
	for _, n := range r.needs(t) {
		select {
		case <-n.done:
		case <-ctx.Done():
			return
		}
		if n.blocked || n.result.State == Failed || n.result.State == Broken {
			t.blocked = true
			t.result.set(NotApplicable("rule %s is broken", n.rule.ID()))
			r.count()
			return
		}
	}
	if r.Begun != nil {
		r.mu.Lock()
		r.Begun(t.rule, r.ended, len(r.tasks))
		r.mu.Unlock()
	}
	c, err := newCase(r.Command, r.Env, r.WorkDir)
	if err != nil {
		t.result.set(err)
	} else {
		t.result = c.check(ctx, t.rule)
	}
	r.count()
}

// count counts a task that has ended.
func (r *run) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended++
}
