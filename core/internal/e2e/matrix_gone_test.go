//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrixpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// inFlight is one call of each sort. No call ends by itself.
type inFlight struct {
	names []string
	ends  chan callEnd // one for each call
}

type callEnd struct {
	name string
	err  error
}

// startCalls starts the calls. It returns when all have reached the plugin and
// the sending call is blocked.
func startCalls(ctx context.Context, t *testing.T, p *matrixPlugin) *inFlight {
	t.Helper()
	calls := &inFlight{ends: make(chan callEnd, 10)}
	run := func(name string, call func() error) {
		calls.names = append(calls.names, name)
		go func() { calls.ends <- callEnd{name, call()} }()
	}
	run("unary", func() error {
		_, err := p.matrix.Wait(ctx, &matrixpb.Empty{})
		return err
	})
	hold, err := p.matrix.Hold(ctx, &matrixpb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Recv(); err != nil {
		t.Fatal(err)
	}
	run("server streaming", func() error {
		_, err := hold.Recv()
		return err
	})
	chat, err := p.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := chat.Send(&echopb.Payload{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chat.Recv(); err != nil {
		t.Fatal(err)
	}
	run("bidirectional", func() error {
		_, err := chat.Recv()
		return err
	})
	dam, err := p.matrix.Dam(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	run("client streaming", func() error {
		for {
			err := dam.Send(&matrixpb.Chunk{Data: make([]byte, chunkSize)})
			if errors.Is(err, io.EOF) {
				_, err = dam.CloseAndRecv()
			}
			if err != nil {
				return err
			}
			sent.Add(chunkSize)
		}
	})
	settled(t, sent.Load)
	eventually(t, hang, func() string {
		if p.look(t).GetHolding() != 2 {
			return "not all handlers have begun"
		}
		return ""
	})
	return calls
}

// assertEnd checks how each of the calls ends.
func (c *inFlight) assertEnd(t *testing.T, code codes.Code, words ...string) {
	t.Helper()
	for range c.names {
		end := waitFor(t, "the end of "+strings.Join(c.names, " or "), c.ends)
		if status.Code(end.err) != code {
			t.Errorf("%s: %v, want code %v", end.name, end.err, code)
		}
		if end.err != nil {
			assertSays(t, end.err.Error(), words...)
		}
	}
}

// TestPluginKilledMidStream ends all calls at once, with the reason.
func TestPluginKilledMidStream(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launchMatrix(t, name)
			calls := startCalls(testContext(t), t, p)
			began := time.Now()
			if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			calls.assertEnd(t, codes.Unavailable, "killed")
			if took := time.Since(began); took > unhurried {
				t.Errorf("the calls ended after %v", took)
			}
			_, err := p.Unary(testContext(t), &echopb.Payload{})
			if status.Code(err) != codes.Unavailable {
				t.Errorf("a call after that: %v", err)
			}
			waitFor(t, "the end of the plugin", p.Done())
		})
	}
}

// TestPluginStopsReading checks plugins that are stopped for good. Calls end by
// their deadlines, and the shutdown by its own; then nothing is left.
func TestPluginStopsReading(t *testing.T) {
	place := newPlace(t)
	t.Setenv("TMPDIR", place.dir)
	t.Setenv(markVariable, place.mark)
	for _, name := range ways.Wired() { // afterwards everything that is made only once exists
		if err := launchMatrix(t, name).Close(); err != nil {
			t.Fatal(err)
		}
	}
	before := takeFootprint(t, place)
	t.Run("over", func(t *testing.T) {
		for _, name := range ways.Wired() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				stopReading(t, launchMatrix(t, name))
			})
		}
	})
	eventually(t, settleTime, func() string {
		after := takeFootprint(t, place)
		// The first plugins may have left some goroutines that were about to
		// end.
		after.Goroutines = max(after.Goroutines, before.Goroutines)
		diff := cmp.Diff(before, after)
		if diff != "" {
			diff += stacks()
		}
		return diff
	})
}

// expiring is a context whose deadline passes when the test says so, because the
// time to begin the calls is not known.
type expiring struct{ done chan struct{} }

var _ context.Context = (*expiring)(nil)

func (e *expiring) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (e *expiring) Done() <-chan struct{}                   { return e.done }
func (e *expiring) Value(any) any                           { return nil }

func (e *expiring) Err() error {
	if isClosed(e.done) {
		return context.DeadlineExceeded
	}
	return nil
}

func stopReading(t *testing.T, p *matrixPlugin) {
	t.Helper()
	ctx := &expiring{make(chan struct{})}
	calls := startCalls(ctx, t, p)
	stopProcess(t, p.Info().PID)
	began := time.Now()
	var others sync.WaitGroup
	for i := range 32 {
		others.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			// Together the messages are more than all buffers can hold.
			_, err := p.Unary(ctx, &echopb.Payload{Data: make([]byte, i*chunkSize)})
			if status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("another call: %v", err)
			}
		})
	}
	others.Wait()
	close(ctx.done)
	calls.assertEnd(t, codes.DeadlineExceeded)
	if _, err := p.OpenStream(ctx, "nobody"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a named stream: %v", err)
	}
	if took := time.Since(began); took > unhurried {
		t.Errorf("the calls ended after %v", took)
	}
	took, err := shutdown(p.Plugin, 200*time.Millisecond)
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Step != host.StepKill || took > unhurried {
		t.Errorf("Shutdown = %v after %v, want an ExitError with step kill", err, took)
	}
}
