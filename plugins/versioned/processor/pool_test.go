package processor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestPoolDoesEachOnce(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 1000} {
		done := make([]atomic.Int32, n)
		if err := newPool(4).each(t.Context(), n, func(i int) { done[i].Add(1) }); err != nil {
			t.Error(err)
		}
		for i := range done {
			if times := done[i].Load(); times != 1 {
				t.Errorf("%d of %d was done %d times", i, n, times)
			}
		}
	}
}

// Two users of a pool together make exactly as many calls at a time as it has
// room for.
func TestPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 3
		p := newPool(size)
		release := make(chan struct{})
		var active, finished atomic.Int32
		var users sync.WaitGroup
		for range 2 {
			users.Go(func() {
				if err := p.each(t.Context(), 5, func(int) {
					active.Add(1)
					<-release
					active.Add(-1)
					finished.Add(1)
				}); err != nil {
					t.Error(err)
				}
			})
		}
		var seen []int32
		for range 2 * 5 {
			synctest.Wait()
			seen = append(seen, active.Load())
			release <- struct{}{}
		}
		users.Wait()
		if want := []int32{3, 3, 3, 3, 3, 3, 3, 3, 2, 1}; !slices.Equal(seen, want) {
			t.Errorf("calls at a time: %v, want %v", seen, want)
		}
		if finished.Load() != 2*5 {
			t.Errorf("%d calls, want 10", finished.Load())
		}
	})
}

func TestPoolStopsWhenCanceled(t *testing.T) {
	t.Run("between calls", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := newPool(1).each(ctx, 100, func(int) {
			if calls++; calls == 3 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || calls != 3 {
			t.Errorf("error %v after %d calls, want Canceled after 3", err, calls)
		}
	})
	t.Run("while it waits for room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(1)
			p <- struct{}{} // room of another user
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.each(ctx, 2, func(int) { t.Error("a call beyond the bound") }) }()
			synctest.Wait()
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want Canceled", err)
			}
		})
	})
	t.Run("before it begins", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := newPool(2)
		for range 100 { // both cases of the select are ready each time
			if err := p.each(ctx, 2, func(int) { t.Error("a call") }); !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v, want Canceled", err)
			}
		}
		if len(p) != 0 {
			t.Errorf("%d places were not given back", len(p))
		}
	})
}

// A panic in one call reaches its user, and does not end the process.
func TestPoolPanics(t *testing.T) {
	p := newPool(2)
	var calls atomic.Int32
	func() {
		defer func() {
			if reason := recover(); reason != "mistake" {
				t.Errorf("recovered %v, want the panic of the call", reason)
			}
		}()
		_ = p.each(t.Context(), 100, func(i int) {
			calls.Add(1)
			if i == 50 {
				panic("mistake")
			}
		})
		t.Error("it returned")
	}()
	if len(p) != 0 {
		t.Errorf("%d places were not given back", len(p))
	}
	if calls.Load() != 100 {
		t.Errorf("%d calls, want 100", calls.Load())
	}
}
