package supervise

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// The defaults of a [Policy].
const (
	// DefaultDelay is what a person does not notice, and what lets a dependency that has
	// just restarted come up.
	DefaultDelay = 100 * time.Millisecond
	// DefaultMaxDelay is a wait after which a person still waits for the plugin.
	DefaultMaxDelay = 30 * time.Second
	// DefaultStableAfter is longer than a plugin with a slow leak or a broken timer
	// usually lives.
	DefaultStableAfter = 10 * time.Minute
	// DefaultMaxEnds and DefaultWindow tell a plugin that cannot work from a plugin that
	// had bad luck. With the delays between them, five ends in a minute mean that the
	// plugin ends at once.
	DefaultMaxEnds = 5
	DefaultWindow  = time.Minute
	// DefaultPause lets a broken plugin cost a start a few seconds, and not all the time.
	DefaultPause = time.Minute
)

// Policy is when a plugin that has ended is started again. A field that is zero has its
// default. A start that fails counts as an end.
type Policy struct {
	// Delay is how long the second restart in a row waits; the first one does not wait.
	// Each further restart waits twice as long as the one before, up to MaxDelay. Each
	// wait is shortened by up to a fifth, at random, so that many plugins that ended
	// together do not start together.
	Delay, MaxDelay time.Duration
	// StableAfter is how long a plugin lives until it counts as stable. The restart after
	// such a life is the first in a row.
	StableAfter time.Duration
	// After MaxEnds ends within Window the handle is down: it starts nothing, and all
	// calls fail. [Handle.Restart] brings it back, and so does the end of Pause. A
	// negative Pause never ends.
	MaxEnds int
	Window  time.Duration
	Pause   time.Duration
}

// withDefaults returns the policy with a value in each field.
func (p Policy) withDefaults() (Policy, error) {
	for _, f := range []struct {
		name    string
		value   *time.Duration
		byDeflt time.Duration
	}{
		{"Delay", &p.Delay, DefaultDelay},
		{"MaxDelay", &p.MaxDelay, max(DefaultMaxDelay, p.Delay)},
		{"StableAfter", &p.StableAfter, DefaultStableAfter},
		{"Window", &p.Window, DefaultWindow},
	} {
		if *f.value < 0 {
			return p, fmt.Errorf("supervise.WithPolicy: %s is %v: want more than 0", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.byDeflt
		}
	}
	if p.MaxDelay < p.Delay {
		return p, fmt.Errorf("supervise.WithPolicy: MaxDelay %v is less than Delay %v", p.MaxDelay, p.Delay)
	}
	if p.MaxEnds < 0 {
		return p, fmt.Errorf("supervise.WithPolicy: MaxEnds is %d: want at least 1", p.MaxEnds)
	}
	if p.MaxEnds == 0 {
		p.MaxEnds = DefaultMaxEnds
	}
	if p.Pause == 0 {
		p.Pause = DefaultPause
	}
	return p, nil
}

// history is what a policy needs of the past.
type history struct {
	Policy
	attempt int         // restarts in a row
	ends    []time.Time // the latest, oldest first; at most MaxEnds
}

// end notes that a plugin has ended after a life, or that a start has failed. It returns
// how long the next start waits; false means that there is none for now.
func (h *history) end(now time.Time, life time.Duration) (delay time.Duration, again bool) {
	if life >= h.StableAfter {
		h.attempt = 0
	}
	if len(h.ends) == h.MaxEnds {
		h.ends = append(h.ends[:0], h.ends[1:]...)
	}
	h.ends = append(h.ends, now)
	if len(h.ends) == h.MaxEnds && now.Sub(h.ends[0]) <= h.Window {
		return 0, false
	}
	h.attempt++
	return h.delay(), true
}

// delay returns the wait before the restart that attempt counts.
func (h *history) delay() time.Duration {
	if h.attempt <= 1 {
		return 0
	}
	d := h.Delay
	for i := 2; i < h.attempt && d < h.MaxDelay; i++ {
		d *= 2
	}
	d = min(d, h.MaxDelay)
	return d - rand.N(d/5+1) //nolint:gosec // no secret
}

// forget makes the next end the first.
func (h *history) forget() { h.attempt, h.ends = 0, h.ends[:0] }
