package conform

import (
	"context"
	"regexp"
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
	rules := r.Rules()
	results := make([]Result, len(rules))
	ready := make([]chan struct{}, len(rules)) // each is closed when the result is there
	next := make(chan int)
	for i := range rules {
		ready[i] = make(chan struct{})
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards ended, and calls of Begun
		ended int
	)
	for range min(max(1, r.Parallel), len(rules)) {
		wg.Go(func() {
			for i := range next {
				if r.Begun != nil {
					mu.Lock()
					r.Begun(rules[i], ended, len(rules))
					mu.Unlock()
				}
				results[i] = r.one(ctx, rules[i])
				mu.Lock()
				ended++
				mu.Unlock()
				close(ready[i])
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range rules {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	defer wg.Wait()
	for i := range rules {
		select {
		case <-ready[i]:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if r.Done != nil {
			r.Done(results[i])
		}
	}
	return results, nil
}

func (r *Runner) one(ctx context.Context, rule *Rule) Result {
	c, err := newCase(r.Command, r.Env, r.WorkDir)
	if err != nil {
		result := Result{Rule: rule.ID(), Title: rule.Title}
		result.set(err)
		return result
	}
	return c.check(ctx, rule)
}
