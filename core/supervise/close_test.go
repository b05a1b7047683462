package supervise

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// The grace of Shutdown counts also for a plugin that was in its start, and hangs.
func TestShutdownDuringAnInitialization(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(ctx context.Context, h *Handle, first *fakePlugin){
		"restart": func(_ context.Context, _ *Handle, first *fakePlugin) { first.kill() },
		"swap":    func(ctx context.Context, h *Handle, _ *fakePlugin) { _ = h.Restart(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := new(factory)
				starts := 0
				h := startFake(t, f, withInit(func(ctx context.Context, p *fakePlugin) error {
					if starts++; starts == 1 {
						return nil
					}
					p.slow = time.Hour
					<-ctx.Done()
					return ctx.Err()
				}))
				first := f.last()
				replaced := make(chan struct{})
				go func() {
					defer close(replaced)
					replace(t.Context(), h, first)
				}()
				synctest.Wait()
				const grace = 100 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), grace)
				defer cancel()
				began := time.Now()
				if err := h.Shutdown(ctx); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if took := time.Since(began); took > grace {
					t.Errorf("Shutdown took %v with a grace of %v", took, grace)
				}
				<-h.Done()
				<-replaced
			})
		})
	}
}

// Swap returns although the launch, the initialization, Quiesce or its undo ignores its
// context. A later swap works.
func TestStuckSwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		old := f.last()
		release := make(chan struct{})
		f.set(func(context.Context, *fakePlugin) error {
			<-release
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		undone := false
		err := h.Restart(ctx, WithQuiesce(func(context.Context, *host.Plugin) (func(), error) {
			return func() { undone = true }, nil
		}))
		const want = "replace plugin fake: a launch, an initialization or a quiesce ignores its context: context deadline exceeded"
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if took := time.Since(began); took > time.Second+host.DefaultGrace+closePatience {
			t.Errorf("Restart took %v", took)
		}
		if n, err := call(t.Context(), h); n != old.number || err != nil {
			t.Errorf("the old plugin: %d, %v", n, err)
		}
		f.set(nil)
		if err := h.Restart(t.Context()); err != nil {
			t.Errorf("a later Restart: %v", err)
		}
		now, err := call(t.Context(), h)
		if err != nil {
			t.Error(err)
		}
		close(release) // the plugin of the stuck swap comes too late, and is stopped
		synctest.Wait()
		late := f.last()
		<-late.Done()
		if !undone {
			t.Error("the old plugin has not taken again what it gave up")
		}
		if n, err := call(t.Context(), h); n != now || n == late.number || err != nil {
			t.Errorf("after the late plugin: %d, %v, want %d", n, err, now)
		}
		closeHandle(t, h)
	})
}
