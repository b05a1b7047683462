package supervise

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The defaults of [Health].
const (
	// DefaultInterval costs a plugin nothing that can be measured.
	DefaultInterval = 10 * time.Second
	// DefaultProbeTimeout is longer than a garbage collection, a page fault storm or a
	// busy machine delays an answer.
	DefaultProbeTimeout = 10 * time.Second
	// DefaultFailures is how many probes in a row must fail. One late answer says nothing.
	DefaultFailures = 3
)

// Health is how a handle finds out that a plugin hangs: it asks the health service, as
// [host.Plugin.Ping] does. A field that is zero has its default.
type Health struct {
	// Interval is the time between two probes. A negative one means no probes, for a
	// plugin that is stopped in a debugger, for example.
	Interval time.Duration
	// Timeout is how long a probe waits for its answer.
	Timeout time.Duration
	// Failures is how many probes in a row must fail until the plugin is replaced.
	Failures int
}

// WithHealth sets how the handle finds out that a plugin hangs. A plugin that does not
// have the health service counts as healthy.
func WithHealth(h Health) Option {
	return optionFunc(func(cfg *config) error {
		cfg.health = h
		return nil
	})
}

func (h Health) withDefaults() (Health, error) {
	if h.Timeout < 0 || h.Failures < 0 {
		return h, fmt.Errorf("supervise.WithHealth: Timeout is %v and Failures is %d: want more than 0", h.Timeout, h.Failures)
	}
	if h.Interval == 0 {
		h.Interval = DefaultInterval
	}
	if h.Timeout == 0 {
		h.Timeout = DefaultProbeTimeout
	}
	if h.Failures == 0 {
		h.Failures = DefaultFailures
	}
	return h, nil
}

// off reports whether there are no probes.
func (h Health) off() bool { return h.Interval < 0 }

// probe asks once.
func (h Health) probe(ctx context.Context, p instance) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	err := p.Ping(ctx)
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return err
}

// readyInterval is the time between two probes of a new plugin, for which a swap waits.
const readyInterval = 50 * time.Millisecond

// awaitHealthy waits until a new plugin is healthy, or has ended.
func (h Health) awaitHealthy(ctx context.Context, p instance) error {
	if h.off() {
		return nil
	}
	for {
		err := h.probe(ctx, p)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return err
		case <-ctx.Done():
			return err
		case <-time.After(readyInterval):
		}
	}
}

// watch probes a plugin until ctx ends, or until it is unhealthy: watch then tells report.
func (h Health) watch(ctx context.Context, p instance, report func(error)) {
	ticker := time.NewTicker(h.Interval)
	defer ticker.Stop()
	for failures := 0; failures < h.Failures; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := h.probe(ctx, p)
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == h.Failures {
			report(&UnhealthyError{Failures: failures, Err: err})
		}
	}
}

// UnhealthyError is why a plugin that lives was replaced.
type UnhealthyError struct {
	// Failures is how many probes in a row have failed.
	Failures int
	// Err is the error of the last one.
	Err error
}

// Error says how many probes failed, and how the last one did.
func (e *UnhealthyError) Error() string {
	return fmt.Sprintf("%d health probes in a row failed, the last one: %v", e.Failures, e.Err)
}

// Unwrap returns Err.
func (e *UnhealthyError) Unwrap() error { return e.Err }

const (
	// unhealthyGrace is how long an unhealthy plugin may take to end in good order.
	unhealthyGrace = time.Second
	// quitTimeout is how long a plugin may take to print the stacks of its goroutines:
	// thousands of them are some megabytes.
	quitTimeout = 5 * time.Second
)

// end stops an unhealthy plugin. One that does not answer first prints where it hangs.
func end(p instance, unhealthy error) {
	if status.Code(errors.Unwrap(unhealthy)) == codes.DeadlineExceeded {
		quit(p)
	}
	ctx, cancel := context.WithTimeout(context.Background(), unhealthyGrace)
	defer cancel()
	_ = p.Shutdown(ctx) // the machine hears of the end by Done
}

func quit(p instance) {
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	_ = p.Quit(ctx) // a plugin that cannot is killed all the same
}
