package supervise

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// A plugin that ends is started again. The first restart is at once. The second waits for
// the delay, and each further one twice as long.
func TestPluginIsStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f, WithPolicy(Policy{MaxEnds: 100}))
		defer closeHandle(t, h)
		for i, want := range []time.Duration{0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
			want *= time.Millisecond
			began := time.Now()
			f.last().kill()
			synctest.Wait()
			if s := h.State(); want > 0 && (s.Phase != PhaseWaiting || s.Attempt != i+1 || s.Next.Before(began.Add(want*4/5))) {
				t.Errorf("restart %d: %+v", i+1, s)
			}
			if n, err := call(t.Context(), h, grpc.WaitForReady(true)); err != nil || n != i+2 {
				t.Fatalf("restart %d: plugin %d, %v", i+1, n, err)
			}
			if took := time.Since(began); took > want || took < want*4/5 {
				t.Errorf("restart %d took %v, want %v or up to a fifth less", i+1, took, want)
			}
		}
		time.Sleep(DefaultStableAfter)
		began := time.Now()
		f.last().kill()
		if _, err := call(t.Context(), h, grpc.WaitForReady(true)); err != nil || time.Since(began) > 0 {
			t.Errorf("after a stable life: %v after %v", err, time.Since(began))
		}
	})
}

// Five ends in a minute bring the handle down, with the last reason. It tries again after
// the pause, and at once when it is restarted.
func TestBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f, WithHold(time.Minute))
		defer closeHandle(t, h)
		fall := func() {
			t.Helper()
			for range DefaultMaxEnds {
				if _, err := call(t.Context(), h); err != nil {
					t.Fatal(err)
				}
				f.last().kill()
				synctest.Wait()
			}
			if s := h.State(); s.Phase != PhaseDown || time.Until(s.Next) != DefaultPause {
				t.Fatalf("%+v", s)
			}
		}
		fall()
		_, err := call(t.Context(), h, grpc.WaitForReady(true))
		exit, ok := errors.AsType[*host.ExitError](err)
		if !ok || exit.Status.Signal != "killed" || status.Code(err) != codes.Unavailable || !host.NotBegun(err) {
			t.Errorf("a call while it is down: %v", err)
		}
		if want := "plugin fake is down (next start in 1m0s): plugin fake ended (signal: killed)"; err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		launched := f.count()
		time.Sleep(DefaultPause - 1)
		if f.count() != launched {
			t.Error("it was started within the pause")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if _, err := call(t.Context(), h); err != nil {
			t.Errorf("after the pause: %v", err)
		}
		fall()
		if err := h.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := call(t.Context(), h); err != nil {
			t.Errorf("after Restart: %v", err)
		}
		launched = f.count()
		time.Sleep(2 * DefaultPause)
		if f.count() != launched {
			t.Error("the pause went on after Restart")
		}
	})
}

// Ends that are further apart than the window allows never bring the handle down.
func TestSlowEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		for range 3 * DefaultMaxEnds {
			time.Sleep(DefaultWindow / 3)
			f.last().kill()
			if _, err := call(t.Context(), h, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A start that would fail again for the same reason is not repeated.
func TestPermanentEnds(t *testing.T) {
	t.Parallel()
	other := protocol.New("fake", 2)
	for name, prepare := range map[string]func(context.Context, *fakePlugin) error{
		"refused cookie":    failing(&host.StartError{Err: &handshake.Error{Code: handshake.CodeCookie}}),
		"no common version": failing(&host.StartError{Err: &handshake.Error{Code: handshake.CodeVersion}}),
		"another protocol":  failing(&host.StartError{Err: &handshake.Error{Code: handshake.CodeProtocol}}),
		"wrong program":     failing(&host.StartError{Phase: host.PhaseHandshake, Exit: &host.ExitStatus{}, Err: errBroken}),
		"wrong checksum":    failing(&host.StartError{Err: host.ErrChecksum}),
		"marked":            failing(Permanent(errBroken)),
		"another version": func(_ context.Context, p *fakePlugin) error {
			p.protocol = other
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, events := new(factory), new(recorder)
				h := startFake(t, f, WithListener(events.listen))
				defer closeHandle(t, h)
				first := f.last()
				f.set(prepare)
				first.kill()
				synctest.Wait()
				if s := h.State(); s.Phase != PhaseDown || !s.Next.IsZero() || s.Err == nil {
					t.Errorf("%+v", s)
				}
				time.Sleep(time.Hour)
				if f.count() != 2 {
					t.Errorf("%d launches, want 2", f.count())
				}
				_, err := call(t.Context(), h)
				if want := "plugin fake is down until it is restarted: "; err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("a call: %v, want %q", err, want)
				}
				want := []Kind{KindReady, KindExited, KindRestarting, KindStarting, KindStartFailed, KindGaveUp}
				if got := events.take(); !slices.Equal(got, want) {
					t.Errorf("events %v, want %v", got, want)
				}
			})
		})
	}
}

func failing(err error) func(context.Context, *fakePlugin) error {
	return func(context.Context, *fakePlugin) error { return err }
}

// A plugin that other code of the host stops is not started again.
func TestAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		if err := f.last().Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := h.State(); s.Phase != PhaseDown || !s.Next.IsZero() || f.count() != 1 {
			t.Errorf("%+v after %d launches", s, f.count())
		}
	})
}

// A plugin that does not start at first is an error of Start, which leaves nothing.
func TestRequiredPluginIsNotSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		f.set(failing(errBroken))
		if _, err := tryFake(t, f); !errors.Is(err, errBroken) || f.count() != 1 {
			t.Errorf("%v after %d launches", err, f.count())
		}
		f.set(nil)
		_, err := tryFake(t, f, withInit(func(context.Context, *fakePlugin) error { return errBroken }))
		if !errors.Is(err, errBroken) || err.Error() != "initialize plugin fake: broken" {
			t.Error(err)
		}
		<-f.last().Done()
	})
}

// A start that takes too long fails, and is one more end.
func TestStartTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		_, err := tryFake(t, f, withInit(func(ctx context.Context, _ *fakePlugin) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "it was not ready within 2m0s (supervise.WithStartTimeout)") {
			t.Error(err)
		}
	})
}

// Each new start is initialized before a call reaches it. An initialization that fails is
// a failed start, and leaves no plugin.
func TestInitializationAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		ready := make(chan struct{})
		failures := 0
		h := startFake(t, f, WithHold(time.Minute), withInit(func(ctx context.Context, p *fakePlugin) error {
			if p.number == 1 {
				return nil
			}
			if p.number < 4 {
				failures++
				return errBroken
			}
			<-ready
			return nil
		}))
		defer closeHandle(t, h)
		f.last().kill()
		time.Sleep(time.Second)
		if s := h.State(); s.Phase != PhaseStarting {
			t.Errorf("%+v", s)
		}
		answered := make(chan error)
		go func() {
			n, err := call(t.Context(), h)
			if n != 4 && err == nil {
				err = errors.New("another plugin answered")
			}
			answered <- err
		}()
		synctest.Wait()
		close(ready)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if failures != 2 {
			t.Errorf("%d failures", failures)
		}
		for _, p := range f.plugins[:3] {
			<-p.Done()
		}
	})
}

// Close ends a start that is under way, and what waits for it.
func TestCloseDuringAStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		first := f.last()
		f.set(func(ctx context.Context, _ *fakePlugin) error {
			<-ctx.Done()
			return nil // the plugin is there all the same
		})
		first.kill()
		synctest.Wait()
		waiting := make(chan error)
		go func() {
			_, err := call(t.Context(), h, grpc.WaitForReady(true))
			waiting <- err
		}()
		synctest.Wait()
		closeHandle(t, h)
		if err := <-waiting; status.Code(err) != codes.Unavailable || !errors.Is(err, errClosed) {
			t.Errorf("a call that waited: %v", err)
		}
		if f.last() == first {
			t.Error("there was no second plugin")
		}
		<-f.last().Done()
		if err := h.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if err := h.Restart(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("Restart after Close: %v", err)
		}
	})
}

// Shutdown returns although a launch ignores its context, and says so.
func TestStuckLaunch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		release := make(chan struct{})
		first := f.last()
		f.set(func(context.Context, *fakePlugin) error {
			<-release
			return errBroken
		})
		first.kill()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err == nil || err.Error() != "plugin fake: a launch or an initialization ignores its context, which has ended" {
			t.Error(err)
		}
		close(release)
		<-h.Done()
	})
}

func TestOptionErrors(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Option{
		"supervise.WithPolicy: MaxDelay 1s is less than Delay 2s":                  WithPolicy(Policy{Delay: 2 * time.Second, MaxDelay: time.Second}),
		"supervise.WithPolicy: Delay is -1s: want more than 0":                     WithPolicy(Policy{Delay: -time.Second}),
		"supervise.WithPolicy: MaxEnds is -1: want at least 1":                     WithPolicy(Policy{MaxEnds: -1}),
		"supervise.WithHealth: Timeout is -1s and Failures is 0: want more than 0": WithHealth(Health{Timeout: -time.Second}),
		"supervise.WithHold(-1s): want at least 0":                                 WithHold(-time.Second),
		"supervise.WithStartTimeout(0s): want more than 0":                         WithStartTimeout(0),
		"supervise.WithInit: the function is nil":                                  WithInit(nil),
		"supervise.WithListener: the function is nil":                              WithListener(nil),
		"supervise.WithLogger: the logger is nil":                                  WithLogger(nil),
	} {
		launch := func(context.Context) (*host.Plugin, error) { return nil, errBroken }
		if _, err := Start(t.Context(), launch, o); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := Start(t.Context(), nil); err == nil {
		t.Error("no launch function was accepted")
	}
	if _, err := Start(t.Context(), func(context.Context) (*host.Plugin, error) { return nil, nil }); !errors.Is(err, errNoPlugin) {
		t.Errorf("neither a plugin nor an error: %v", err)
	}
}
