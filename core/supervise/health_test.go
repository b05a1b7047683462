package supervise

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
)

func hang(ctx context.Context) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// One late answer, or two, kills nothing.
func TestLateAnswerKillsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		var probes atomic.Int64
		f.last().set(func() {
			f.last().health = func(ctx context.Context) error {
				if probes.Add(1)%DefaultFailures != 0 {
					return hang(ctx)
				}
				return nil
			}
		})
		time.Sleep(time.Hour)
		if s := h.State(); s.Starts != 1 || s.Phase != PhaseReady || probes.Load() < 100 {
			t.Errorf("%d probes, %+v", probes.Load(), s)
		}
	})
}

// A plugin that hangs is noticed, takes no calls from then on, and is replaced.
func TestUnhealthyPluginIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, events := new(factory), new(recorder)
		h := startFake(t, f, WithListener(events.listen), WithHealth(Health{Interval: time.Second, Timeout: time.Second, Failures: 2}))
		defer closeHandle(t, h)
		first := f.last()
		first.slow = time.Hour
		first.set(func() { first.health = hang })
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if s := h.State(); s.Phase != PhaseStopping {
			t.Fatalf("%+v", s)
		}
		_, err := call(t.Context(), h)
		unhealthy, ok := errors.AsType[*UnhealthyError](err)
		if !ok || unhealthy.Failures != 2 || status.Code(unhealthy.Err) != codes.DeadlineExceeded {
			t.Fatal(err)
		}
		if want := "plugin fake is unhealthy and is being replaced: 2 health probes in a row failed, the last one: rpc error: code = DeadlineExceeded desc = context deadline exceeded"; err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if n, err := call(t.Context(), h, grpc.WaitForReady(true)); n != 2 || err != nil {
			t.Errorf("plugin %d, %v", n, err)
		}
		<-first.Done()
		synctest.Wait() // the listener has all events
		want := []Kind{KindReady, KindUnhealthy, KindExited, KindRestarting, KindStarting, KindReady}
		if got := events.take(); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

// A plugin that hangs is told to print its stacks. A plugin that says that it is unhealthy
// is not: it only stops.
func TestStacks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		health func(context.Context) error
		want   bool
	}{
		"hangs":           {hang, true},
		"is not serving":  {func(context.Context) error { return errBroken }, false},
		"hangs, is stuck": {hang, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, events := new(factory), new(recorder)
				h := startFake(t, f, WithListener(events.listen))
				defer closeHandle(t, h)
				first := f.last()
				stacks := &host.ExitError{Panic: "SIGQUIT: quit", Stack: "goroutine 1 [select]:"}
				first.set(func() {
					first.health = tt.health
					first.quit = func(ctx context.Context) error {
						if name == "hangs, is stuck" {
							<-ctx.Done()
							return ctx.Err()
						}
						first.end(stacks)
						return nil
					}
				})
				time.Sleep(time.Hour)
				synctest.Wait()
				var exit *host.ExitError
				for _, e := range events.events {
					if e.Kind == KindExited && e.Err != nil {
						exit, _ = errors.AsType[*host.ExitError](e.Err)
					}
				}
				if got := exit == stacks; got != (tt.want && name == "hangs") {
					t.Errorf("the event has %v", exit)
				}
				if s := h.State(); s.Starts != 2 || s.Phase != PhaseReady {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// An unhealthy plugin that stops in good order when asked is replaced too.
func TestUnhealthyPluginThatStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		first := f.last()
		first.set(func() { first.health = func(context.Context) error { return errBroken } })
		time.Sleep(DefaultFailures*DefaultInterval + 1)
		synctest.Wait()
		if s := h.State(); s.Phase != PhaseReady || s.Starts != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// A plugin without the health service counts as healthy, and so does any without probes.
func TestNoHealthService(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		health Health
		answer error
	}{
		"not served": {Health{}, status.Error(codes.Unimplemented, "unknown service")},
		"no probes":  {Health{Interval: -1}, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := new(factory)
				f.set(func(_ context.Context, p *fakePlugin) error {
					p.health = func(context.Context) error { return tt.answer }
					return nil
				})
				h := startFake(t, f, WithHealth(tt.health))
				defer closeHandle(t, h)
				time.Sleep(time.Hour)
				if s := h.State(); s.Starts != 1 || s.Phase != PhaseReady {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
