package supervise

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// Calls go to the old plugin until the new one is initialized and healthy, and none
// fails. Calls in flight at the switch end at the old plugin.
func TestSwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, events := new(factory), new(recorder)
		h := startFake(t, f, WithListener(events.listen))
		defer closeHandle(t, h)
		old := f.last()
		old.slow = 3 * time.Second
		f.set(func(_ context.Context, p *fakePlugin) error {
			time.Sleep(time.Second)
			began := time.Now()
			p.health = func(context.Context) error {
				if time.Since(began) < time.Second {
					return errBroken
				}
				return nil
			}
			return nil
		})
		inFlight := make(chan error, 1)
		old.call = func(context.Context, string) error {
			time.Sleep(10 * time.Second / 4)
			return nil
		}
		go func() {
			n, err := call(t.Context(), h)
			if n != 1 && err == nil {
				err = errors.New("another plugin answered")
			}
			inFlight <- err
		}()
		synctest.Wait()
		old.set(func() { old.call = nil })
		stop := make(chan struct{})
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for last := 1; ; {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					n, err := call(t.Context(), h)
					if err != nil || n < last {
						t.Errorf("plugin %d after %d, %v", n, last, err)
						return
					}
					last = n
				}
			})
		}
		if err := h.replace(t.Context(), f.launch); err != nil {
			t.Fatal(err)
		}
		if n, err := call(t.Context(), h); n != 2 || err != nil {
			t.Errorf("after the swap: plugin %d, %v", n, err)
		}
		select {
		case <-old.Done():
			t.Error("Swap waited for the old plugin")
		default:
		}
		if err := <-inFlight; err != nil {
			t.Errorf("a call in flight: %v", err)
		}
		<-old.Done()
		close(stop)
		callers.Wait()
		synctest.Wait()
		want := []Kind{KindReady, KindStarting, KindReady, KindSwapped, KindRetired}
		if got := events.take(); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

// A plugin that is swapped in is initialized before a call reaches it. A plugin that is not
// initialized fails each call.
func TestInitializationAfterASwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f, withInit(func(context.Context, *fakePlugin) error {
			time.Sleep(time.Second)
			return nil
		}))
		defer closeHandle(t, h)
		stop := make(chan struct{})
		var callers sync.WaitGroup
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					if _, err := call(t.Context(), h); err != nil {
						t.Error(err)
					}
				}
			}
		})
		for range 3 {
			if err := h.Restart(t.Context()); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		callers.Wait()
		synctest.Wait()
	})
}

// A swap that fails in whatever way leaves the old plugin as it was, and no other.
func TestReloadHalfDone(t *testing.T) {
	t.Parallel()
	other := protocol.New("fake", 2)
	for name, prepare := range map[string]func(context.Context, *fakePlugin) error{
		"it does not start": failing(errBroken),
		"it speaks another version": func(_ context.Context, p *fakePlugin) error {
			p.protocol = other
			return nil
		},
		"it is never healthy": func(_ context.Context, p *fakePlugin) error {
			p.health = func(context.Context) error { return errBroken }
			return nil
		},
		"it ends before it is ready": func(_ context.Context, p *fakePlugin) error {
			p.health = func(context.Context) error {
				p.kill()
				return lost()
			}
			return nil
		},
		"it takes too long": func(ctx context.Context, _ *fakePlugin) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := new(factory)
				h := startFake(t, f)
				defer closeHandle(t, h)
				before := h.State()
				f.set(prepare)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := h.replace(ctx, f.launch)
				if err == nil {
					t.Fatal("no error")
				}
				if version, ok := errors.AsType[*VersionError](err); ok &&
					err.Error() != "replace plugin fake: plugin fake speaks protocol fake/2, and the callers of the handle speak fake/1" {
					t.Error(err, version)
				}
				if after := h.State(); after != before {
					t.Errorf("the handle changed from %+v to %+v", before, after)
				}
				for i, p := range f.plugins {
					if i > 0 {
						<-p.Done()
					}
				}
				if n, err := call(t.Context(), h); n != 1 || err != nil {
					t.Errorf("plugin %d, %v", n, err)
				}
				f.set(nil)
				f.last().kill()
				f.plugins[0].kill()
				if n, err := call(t.Context(), h, grpc.WaitForReady(true)); n != 3 || err != nil {
					t.Errorf("after its end: plugin %d, %v", n, err)
				}
			})
		})
	}
}

// The old plugin ends while the new one starts: the old one is started again, and the
// swap goes on.
func TestEndDuringASwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, swapped := new(factory), new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		swapped.set(func(context.Context, *fakePlugin) error {
			time.Sleep(time.Second)
			return nil
		})
		result := make(chan error)
		go func() { result <- h.replace(t.Context(), swapped.launch) }()
		synctest.Wait()
		f.last().kill()
		synctest.Wait()
		if s := h.State(); s.Phase != PhaseReady || f.count() != 2 {
			t.Errorf("%+v after %d launches", s, f.count())
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		<-f.last().Done()
		swapped.set(nil)
		swapped.last().kill()
		synctest.Wait()
		if f.count() != 2 || swapped.count() != 2 {
			t.Errorf("a restart after the swap launched the old program: %d, %d", f.count(), swapped.count())
		}
	})
}

// A plugin that does not live long after the swap is replaced by the old program.
func TestRollback(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		life time.Duration
		back bool
	}{{time.Minute - 1, true}, {time.Minute, false}} {
		synctest.Test(t, func(t *testing.T) {
			f, swapped, events := new(factory), new(factory), new(recorder)
			h := startFake(t, f, WithListener(events.listen))
			defer closeHandle(t, h)
			if err := h.replace(t.Context(), swapped.launch, WithRollback(time.Minute)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(tt.life)
			swapped.last().kill()
			synctest.Wait()
			if back := f.count() == 2; back != tt.back || slices.Contains(events.take(), KindRolledBack) != back {
				t.Errorf("after a life of %v: launched %d and %d times", tt.life, f.count(), swapped.count())
			}
		})
	}
}

// A plugin that is unhealthy within the time of the rollback is rolled back, also if it ends
// after that time.
func TestRollbackOfAnUnhealthyPlugin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, swapped := new(factory), new(factory)
		h := startFake(t, f, WithHealth(Health{Interval: time.Second, Failures: 1}))
		defer closeHandle(t, h)
		swapped.set(func(_ context.Context, p *fakePlugin) error {
			p.slow = time.Hour
			return nil
		})
		if err := h.replace(t.Context(), swapped.launch, WithRollback(time.Second+unhealthyGrace/2)); err != nil {
			t.Fatal(err)
		}
		p := swapped.last()
		p.set(func() { p.health = func(context.Context) error { return errBroken } })
		<-p.Done()
		synctest.Wait()
		if f.count() != 2 || swapped.count() != 1 {
			t.Errorf("launched %d and %d times", f.count(), swapped.count())
		}
	})
}

// The old plugin gives up what only one process can have before the new one starts, and
// takes it again if the swap fails.
func TestQuiesce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		var held sync.Mutex
		held.Lock()
		quiesce := WithQuiesce(func(context.Context, *host.Plugin) (func(), error) {
			held.Unlock()
			return held.Lock, nil
		})
		take := func(context.Context, *fakePlugin) error {
			if !held.TryLock() {
				return errors.New("the old plugin has it")
			}
			return nil
		}
		f.set(func(ctx context.Context, p *fakePlugin) error {
			if err := take(ctx, p); err != nil {
				return err
			}
			held.Unlock()
			return errBroken
		})
		if err := h.replace(t.Context(), f.launch, quiesce); !errors.Is(err, errBroken) || held.TryLock() {
			t.Errorf("%v, or it was not taken again", err)
		}
		f.set(take)
		if err := h.replace(t.Context(), f.launch, quiesce); err != nil {
			t.Error(err)
		}
		refusing := WithQuiesce(func(context.Context, *host.Plugin) (func(), error) { return nil, errBroken })
		if err := h.replace(t.Context(), f.launch, refusing); !errors.Is(err, errBroken) || f.count() != 3 {
			t.Errorf("%v after %d launches", err, f.count())
		}
	})
}

// The old plugin has a grace, which Close can shorten.
func TestGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		first := f.last()
		first.slow = time.Hour
		began := time.Now()
		if err := h.replace(t.Context(), f.launch, WithGrace(time.Minute)); err != nil {
			t.Fatal(err)
		}
		<-first.Done()
		if time.Since(began) != time.Minute {
			t.Errorf("it ended after %v", time.Since(began))
		}
		second := f.last()
		second.slow = time.Hour
		if err := h.replace(t.Context(), f.launch, WithGrace(time.Hour)); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if err := h.Close(); err == nil {
			t.Error("the second plugin ended in good order")
		}
		<-second.Done()
		if time.Since(began) != host.DefaultGrace {
			t.Errorf("Close took %v", time.Since(began))
		}
	})
}

// Swaps happen one after the other, and one that waits ends with its context.
func TestSwapsInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		f.set(func(context.Context, *fakePlugin) error {
			time.Sleep(time.Minute)
			return nil
		})
		var swaps sync.WaitGroup
		for range 3 {
			swaps.Go(func() {
				if err := h.Restart(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Restart(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		swaps.Wait()
		if s := h.State(); s.Starts != 4 {
			t.Errorf("%+v", s)
		}
		synctest.Wait()
	})
}
