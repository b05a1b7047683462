package supervise

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
)

// A listener gets each event once and in order, however slow it is, and holds nobody up.
func TestSlowListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const restarts = 30
		f, events := new(factory), new(recorder)
		h := startFake(t, f, WithPolicy(Policy{MaxEnds: 2 * restarts}), WithListener(func(e Event) {
			time.Sleep(time.Hour)
			events.listen(e)
		}))
		want := []Kind{KindReady}
		for range restarts {
			f.last().kill()
			synctest.Wait()
			if _, err := call(t.Context(), h, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			want = append(want, KindExited, KindRestarting, KindStarting, KindReady)
		}
		closeHandle(t, h)
		want = append(want, KindClosed)
		time.Sleep(time.Duration(len(want)) * time.Hour)
		synctest.Wait()
		last := time.Time{}
		for _, e := range events.events {
			if e.Time.Before(last) || e.Name != "fake" {
				t.Errorf("%+v after %v", e, last)
			}
			last = e.Time
		}
		if got := events.take(); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// A change of the listeners, as by Group.Apply, takes no event from a slow one.
func TestListenersOfAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, before, after := new(factory), new(recorder), new(recorder)
		h := startFake(t, f, WithListener(func(e Event) {
			time.Sleep(time.Hour)
			before.listen(e)
		}))
		next := &plan{launch: f.launch, config: fakeConfig(t, WithListener(after.listen))}
		if err := h.request(newSwap(t.Context(), &swap{plan: next}, nil)); err != nil {
			t.Fatal(err)
		}
		closeHandle(t, h)
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if got, want := before.take(), []Kind{KindReady, KindStarting}; !slices.Equal(got, want) {
			t.Errorf("before the change: %v, want %v", got, want)
		}
		if got := after.take(); len(got) < 3 || got[0] != KindReady || got[1] != KindSwapped || got[len(got)-1] != KindClosed {
			t.Errorf("after the change: %v", got)
		}
	})
}

// Several listeners get each event in the order in which they were added.
func TestListenersInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		listen := func(name string) Option {
			return WithListener(func(e Event) { got = append(got, name+" "+string(e.Kind)) })
		}
		h := startFake(t, new(factory), listen("a"), Options(listen("b"), listen("c")))
		closeHandle(t, h)
		synctest.Wait()
		want := []string{"a ready", "b ready", "c ready", "a closed", "b closed", "c closed"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// lockedBuffer is a buffer that a handle's log is written to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The handle logs its events, and no others.
func TestRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		f := new(factory)
		text := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		h := startFake(t, f, WithLogger(slog.New(text)))
		f.last().kill()
		synctest.Wait()
		closeHandle(t, h)
		synctest.Wait()
		const want = `level=INFO msg="supervised plugin: ready" plugin=fake
level=WARN msg="supervised plugin: exited" plugin=fake error="plugin fake ended (signal: killed)"
level=WARN msg="supervised plugin: restarting" plugin=fake attempt=1 error="plugin fake ended (signal: killed)"
level=INFO msg="supervised plugin: starting" plugin=fake attempt=1
level=INFO msg="supervised plugin: ready" plugin=fake
level=INFO msg="supervised plugin: closed" plugin=fake
`
		if got := log.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// State tells a status page what there is to know.
func TestState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		began := time.Now()
		if s := h.State(); s.Phase != PhaseReady || s.Starts != 1 || s.Attempt != 0 || s.Err != nil || !s.Since.Equal(began) {
			t.Errorf("at first: %+v", s)
		}
		time.Sleep(time.Second)
		f.last().kill()
		synctest.Wait()
		if s := h.State(); s.Phase != PhaseReady || s.Starts != 2 || s.Attempt != 1 || s.Err == nil || !s.Since.Equal(began.Add(time.Second)) {
			t.Errorf("after a restart: %+v", s)
		}
		closeHandle(t, h)
		s := h.State()
		if s.Phase != PhaseClosed {
			t.Errorf("at the end: %+v", s)
		}
		_, err := call(t.Context(), h)
		if want := "plugin fake takes no calls: the handle is closed: "; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	})
}
