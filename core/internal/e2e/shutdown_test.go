//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// shutdown gives the plugin the grace d, and returns the error of Shutdown and
// its time.
func shutdown(p *host.Plugin, d time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	began := time.Now()
	err := p.Shutdown(ctx)
	return time.Since(began), err
}

// steps collects the steps of a shutdown.
type steps struct {
	mu   sync.Mutex // guards list
	list []host.Step
}

func (s *steps) trace() host.Option {
	return host.WithTrace(&host.Trace{Stopping: func(e host.StoppingEvent) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = append(s.list, e.Step)
	}})
}

func (s *steps) assert(tb testing.TB, want ...host.Step) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.list, want) {
		tb.Errorf("steps %q, want %q", s.list, want)
	}
}

// TestShutdownDrains keeps a stream going while the plugin is told to stop.
func TestShutdownDrains(t *testing.T) {
	t.Parallel()
	var taken steps
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave", "-hooks", "first,second"), host.WithLogger(logger), taken.trace())
	client := echopb.NewEchoClient(p)
	ctx := testContext(t)
	chat, err := client.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	say := func(word string) {
		t.Helper()
		if err := chat.Send(&echopb.Payload{Data: []byte(word)}); err != nil {
			t.Fatal(err)
		}
		if resp, err := chat.Recv(); err != nil || string(resp.GetData()) != word {
			t.Fatalf("%q, %v; want %q", resp.GetData(), err, word)
		}
	}
	say("before")
	watch, err := healthpb.NewHealthClient(p).Watch(ctx, &healthpb.HealthCheckRequest{Service: "plugin"})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := watch.Recv(); err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v; want SERVING", resp, err)
	}

	done := make(chan error, 1)
	go func() {
		_, err := shutdown(p, hang)
		done <- err
	}()
	if resp, err := watch.Recv(); err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v; want NOT_SERVING", resp, err)
	}
	for {
		_, err := client.Unary(ctx, &echopb.Payload{})
		if err == nil {
			continue // health changes just before the door closes
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("code %v, want %v", status.Code(err), codes.Unavailable)
		}
		assertSays(t, err.Error(), "the plugin is shutting down and takes no new calls")
		break
	}
	say("after")
	if _, ok := book.find("shutdown function"); ok {
		t.Error("a shutdown function ran while a call was in flight")
	}
	if err := chat.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of the stream: %v, want %v", err, io.EOF)
	}
	if err := waitFor(t, "Shutdown", done); err != nil {
		t.Error(err)
	}
	taken.assert(t, host.StepAsk)
	if got, want := book.attrs("shutdown function", "way"), []any{"second", "first"}; !slices.Equal(got, want) {
		t.Errorf("shutdown functions %v, want %v", got, want)
	}
}

// TestHealthWatchDoesNotDelayShutdown leaves a health watch open, which never
// ends by itself.
func TestHealthWatchDoesNotDelayShutdown(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	watch, err := healthpb.NewHealthClient(p).Watch(testContext(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	took, err := shutdown(p, hang)
	if err != nil || took > prompt {
		t.Errorf("Shutdown: %v after %v", err, took)
	}
	for err = nil; err == nil; {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v, want %v", err, codes.Unavailable)
	}
}

// cutOffGrace is the grace of a shutdown that has to cut calls off and still
// succeeds: a third of it is left for that, even on a busy machine.
const cutOffGrace = 10 * time.Second

// TestShutdownCutsOff makes a call that outlives the grace but respects its
// context.
func TestShutdownCutsOff(t *testing.T) {
	t.Parallel()
	var taken steps
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave", "-hooks", "only"), host.WithLogger(logger), taken.trace())
	called := make(chan error, 1)
	go func() {
		_, err := echopb.NewEchoClient(p).Fail(context.Background(), fail("wait"))
		called <- err
	}()
	book.await(t, "waiting")
	if _, err := shutdown(p, cutOffGrace); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := waitFor(t, "the call", called); status.Code(err) != codes.Unavailable {
		t.Errorf("the call ended with %v, want %v", err, codes.Unavailable)
	}
	taken.assert(t, host.StepAsk)
	r := book.await(t, "calls were cut off by the shutdown")
	assertSays(t, r.text("error"), "1 calls were still in flight")
	book.await(t, "waited")
	book.await(t, "shutdown function")
}

// TestShutdownOfStuckHandler calls a handler that ignores its context:
// everything else of an orderly stop still happens.
func TestShutdownOfStuckHandler(t *testing.T) {
	t.Parallel()
	var taken steps
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave", "-hooks", "only"), host.WithLogger(logger), taken.trace())
	called := make(chan error, 1)
	go func() {
		_, err := echopb.NewEchoClient(p).Fail(context.Background(), fail("stuck"))
		called <- err
	}()
	book.await(t, "stuck")
	took, err := shutdown(p, cutOffGrace)
	if took > prompt {
		t.Errorf("Shutdown took %v", took)
	}
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Step != host.StepAsk || exit.Status != (host.ExitStatus{Code: 1}) {
		t.Fatalf("Shutdown = %v, want an ExitError with step ask and exit code 1", err)
	}
	assertSays(t, err.Error(), "stopped when asked, with an error (exit code 1)", "calls were cut off and go on all the same (1): their handlers do not heed the context")
	if err := waitFor(t, "the call", called); status.Code(err) != codes.Unavailable {
		t.Errorf("the call ended with %v, want %v", err, codes.Unavailable)
	}
	taken.assert(t, host.StepAsk)
	book.await(t, "calls were cut off by the shutdown")
	book.await(t, "shutdown function")
}

// TestShutdownOfStoppedProcess shuts a plugin down whose process is stopped.
func TestShutdownOfStoppedProcess(t *testing.T) {
	t.Parallel()
	var taken steps
	p := launch(t, echoPlugin(), taken.trace())
	stopProcess(t, p.Info().PID)
	took, err := shutdown(p, 200*time.Millisecond)
	if took > prompt {
		t.Errorf("Shutdown took %v", took)
	}
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Step != host.StepKill || exit.Status != (host.ExitStatus{Signal: "killed"}) {
		t.Errorf("Shutdown = %v, want an ExitError with step kill", err)
	}
	assertSays(t, err.Error(), "did not stop in time when asked, nor when terminated, and was killed (signal: killed)")
	taken.assert(t, host.StepAsk, host.StepTerminate, host.StepKill)
	if _, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{}); err != nil {
		asExit(t, err)
	} else {
		t.Error("a call to a killed plugin succeeded")
	}
}

// TestShutdownFunctions runs shutdown functions that end in all ways.
func TestShutdownFunctions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hooks string
		grace time.Duration
		order []any
		code  int
		log   string // the plugin's log record about it
	}{
		{hooks: "a,b,c", grace: hang, order: []any{"c", "b", "a"}},
		{hooks: "a,error,b", grace: hang, order: []any{"b", "error", "a"}, code: 1, log: "could not save the state"},
		{hooks: "a,panic,b", grace: hang, order: []any{"b", "panic", "a"}, code: 1, log: "panic: nothing to save"},
		{hooks: "hang,b", grace: 2 * cutOffGrace, // the last tenth of it is for the exit
			order: []any{"b", "hang"}, code: 1, log: "it had not returned when its time was over"},
	} {
		t.Run(tt.hooks, func(t *testing.T) {
			t.Parallel()
			logger, book := newJournal(t, 0)
			p := launch(t, command("misbehave", "-hooks", tt.hooks), host.WithLogger(logger))
			took, err := shutdown(p, tt.grace)
			if took > prompt {
				t.Errorf("Shutdown took %v", took)
			}
			if got := book.attrs("shutdown function", "way"); !slices.Equal(got, tt.order) {
				t.Errorf("order %v, want %v", got, tt.order)
			}
			if tt.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var exit *host.ExitError
			if !errors.As(err, &exit) || exit.Status != (host.ExitStatus{Code: tt.code}) || exit.Step != host.StepAsk {
				t.Fatalf("Shutdown = %v, want an ExitError with code %d and step ask", err, tt.code)
			}
			assertSays(t, err.Error(), "stopped when asked, with an error (exit code 1)", tt.log)
			assertSays(t, book.await(t, "a shutdown function failed").text("error"), tt.log)
		})
	}
}

// TestShortestGraceCounts calls a patient and an impatient Shutdown at once.
func TestShortestGraceCounts(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	stopProcess(t, p.Info().PID)
	patient := make(chan error, 1)
	go func() {
		_, err := shutdown(p, hang)
		patient <- err
	}()
	if took, err := shutdown(p, 100*time.Millisecond); err == nil || took > prompt {
		t.Errorf("Shutdown = %v after %v, want an error soon", err, took)
	}
	var exit *host.ExitError
	if err := waitFor(t, "the patient Shutdown", patient); !errors.As(err, &exit) || exit.Step != host.StepKill {
		t.Errorf("the patient Shutdown = %v, want an ExitError with step kill", err)
	}
}
