package measure

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	times := []time.Duration{5, 1, 4, 2, 3}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 4, 1: 5} {
		if got := percentile(times, p); got != want {
			t.Errorf("percentile %g is %d, want %d", p, got, want)
		}
	}
	if got := percentile([]time.Duration{7}, 0.5); got != 7 {
		t.Errorf("percentile of one value is %d, want 7", got)
	}
}

// TestCallers checks that each caller calls at least once, and that an error ends all.
func TestCallers(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	call := func() error { made.Add(1); return nil }
	calls, took, err := parallel(8, 0, call)
	if err != nil || calls < 8 || int64(calls) != made.Load() || took <= 0 {
		t.Errorf("parallel: %d calls in %s, %v; %d were made", calls, took, err, made.Load())
	}
	times, _, err := timed(8, 0, call)
	if err != nil || len(times) < 8 {
		t.Errorf("timed: %d calls, %v", len(times), err)
	}
	broken := errors.New("broken")
	fail := func() error { return broken }
	if _, _, err := parallel(2, time.Hour, fail); !errors.Is(err, broken) {
		t.Errorf("parallel: %v, want %v", err, broken)
	}
	if _, _, err := timed(2, time.Hour, fail); !errors.Is(err, broken) {
		t.Errorf("timed: %v, want %v", err, broken)
	}
	if err := background(2, fail)(); !errors.Is(err, broken) {
		t.Errorf("background: %v, want %v", err, broken)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range Figures {
		if seen[f.Key] || f.Title == "" || f.Unit == "" {
			t.Errorf("%+v is a duplicate, or lacks a title or a unit", f)
		}
		seen[f.Key] = true
	}
	values := Values{UnaryP50: 12.345, Start: 5}
	if got, want := values.String(), "unary_p50 12.35 us, start 5 ms"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
