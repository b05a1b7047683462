package h2_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
)

// halfDeadConn is a connection that can no longer be written to, and whose end has not
// been read yet.
type halfDeadConn struct {
	net.Conn
	dead     atomic.Bool
	deadline chan time.Time // receives each read deadline that is set after that
}

func (c *halfDeadConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

func (c *halfDeadConn) SetReadDeadline(t time.Time) error {
	if c.dead.Load() {
		select {
		case c.deadline <- t:
		default:
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// TestWriteFailsBeforeRead uses a connection on which a write fails while reads still
// succeed, because there is much to read. Calls that fail with the write wait for the reason
// too, and their wait is bounded.
func TestWriteFailsBeforeRead(t *testing.T) {
	t.Parallel()
	conn := &halfDeadConn{deadline: make(chan time.Time, 1)}
	p := connect(t, &service{}, func(client *clientConfig, _ *serverConfig) {
		conn.Conn = client.Conn
		client.Conn = conn
	})
	if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	conn.dead.Store(true)
	reason := errors.New("the plugin has ended")
	failed := make(chan error, 20)
	for range cap(failed) { // grpc notices with the first
		go func() {
			_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 1<<20)}})
			failed <- err
		}()
	}
	if at := receive(t, "a deadline for the last read", conn.deadline); time.Until(at) > hang {
		t.Errorf("the last read ends at %v", at)
	}
	select {
	case err := <-failed:
		t.Errorf("a call ended before the reason was known: %v", err)
		failed <- err // for the loop below
	default:
	}
	p.client.Fail(reason)
	for range cap(failed) {
		if err := receive(t, "a call", failed); status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
			t.Errorf("the call ended with %v, want %v", err, reason)
		}
	}
}

// TestDeadlineWhileTheReasonIsAwaited ends the contexts of calls, by deadline and by
// cancellation, after the connection is lost and before the reason is known.
func TestDeadlineWhileTheReasonIsAwaited(t *testing.T) {
	t.Parallel()
	p := connect(t, &service{})
	if err := p.conn.Close(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.UnaryCall(short, &testpb.SimpleRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("after its deadline: %v", err)
	}
	canceled, cancelNow := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancelNow)
	if _, err := p.UnaryCall(canceled, &testpb.SimpleRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("after its cancellation: %v", err)
	}
}

// TestDeadlineAtTheEnd lets the deadlines of calls pass at the moment when the other side
// turns out to have ended. No error is a cancellation, and the error of each call that could
// not be answered names the reason.
func TestDeadlineAtTheEnd(t *testing.T) {
	t.Parallel()
	reason := errors.New("the plugin has ended")
	for range 20 {
		begun := make(chan struct{}, 100)
		svc := until(begun, nil, true)
		svc.duplex = func(stream duplexServer) error {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		p := connect(t, svc)
		stream, err := p.FullDuplexCall(bounded(t)) // one that nothing ends but the reason
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(5 * time.Millisecond)
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		ended := make(chan error, 8)
		for range cap(ended) {
			go func() {
				_, err := p.UnaryCall(ctx, &testpb.SimpleRequest{})
				ended <- err
			}()
		}
		<-ctx.Done()
		p.client.Fail(reason)
		for range cap(ended) {
			err := receive(t, "a call", ended)
			if code := status.Code(err); code != codes.DeadlineExceeded && (code != codes.Unavailable || !errors.Is(err, reason)) {
				t.Errorf("%v, want %v or the reason", err, codes.DeadlineExceeded)
			}
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
			t.Errorf("a call without a deadline: %v", err)
		}
		cancel()
	}
}

// TestStalled checks that the error of a call that timed out says what keeps the other side
// from answering, if that is known.
func TestStalled(t *testing.T) {
	t.Parallel()
	for _, why := range []string{"", "its process is stopped"} {
		asked := 0
		p := connect(t, until(make(chan struct{}, 100), nil, true), func(client *clientConfig, _ *serverConfig) {
			client.Stalled = func() string { asked++; return why }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := p.UnaryCall(ctx, &testpb.SimpleRequest{})
		want := strings.TrimSuffix("context deadline exceeded: "+why, ": ")
		if s := status.Convert(err); s.Code() != codes.DeadlineExceeded || s.Message() != want || asked != 1 {
			t.Errorf("%v, asked %d times; want %q", err, asked, want)
		}
	}
}

// failingStats fails its client when a call has begun there and has no connection yet.
type failingStats struct {
	stats.Handler
	fail func()
}

func (s *failingStats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	s.fail()
	return ctx
}

func (*failingStats) HandleRPC(context.Context, stats.RPCStats) {}

func (*failingStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (*failingStats) HandleConn(context.Context, stats.ConnStats) {}

// TestFailBeforeACallIsSent fails the client between the beginning of a call and its sending.
// The call has certainly not begun at the other side.
func TestFailBeforeACallIsSent(t *testing.T) {
	t.Parallel()
	reason := errors.New("the plugin has ended")
	failing := &failingStats{}
	p := connect(t, &service{}, func(client *clientConfig, _ *serverConfig) { client.Stats = []stats.Handler{failing} })
	failing.fail = func() { p.client.Fail(reason) }
	if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); !errors.Is(err, reason) || !calls.NotBegun(err) {
		t.Errorf("%v, which counts as not begun: %t", err, calls.NotBegun(err))
	}
}

// TestFailAfterACallIsSent fails the client while a handler runs.
func TestFailAfterACallIsSent(t *testing.T) {
	t.Parallel()
	reason := errors.New("the plugin has ended")
	for range 20 {
		begun := make(chan struct{}, 1)
		p := connect(t, until(begun, nil, true))
		failed := make(chan error, 1)
		go func() {
			_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
			failed <- err
		}()
		receive(t, "a call", begun)
		p.client.Fail(reason)
		if err := receive(t, "the end of the call", failed); !errors.Is(err, reason) || calls.NotBegun(err) {
			t.Errorf("%v, which counts as not begun: %t", err, calls.NotBegun(err))
		}
	}
}

// TestFailUnderLoad fails the client while many call it. At most one call of each
// caller may have begun: the one that was in flight. All later ones have not.
func TestFailUnderLoad(t *testing.T) {
	t.Parallel()
	reason := errors.New("the plugin has ended")
	for name, client := range map[string]func(t *testing.T) *h2.Client{
		"one connection": func(t *testing.T) *h2.Client { t.Helper(); return connect(t, &service{}).client },
		"dialed again":   func(t *testing.T) *h2.Client { t.Helper(); _, c := newEnding(t, nil); return c },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ctx := client(t), bounded(t)
			const callers = 64
			answered := make(chan struct{}, callers)
			var calling sync.WaitGroup
			for range callers {
				calling.Go(func() {
					uncertain := 0
					for first := true; ; first = false {
						_, err := testpb.NewTestServiceClient(c).UnaryCall(ctx, &testpb.SimpleRequest{})
						switch {
						case err == nil && first:
							answered <- struct{}{}
						case err == nil:
						case calls.NotBegun(err):
							if uncertain > 1 {
								t.Errorf("%d calls of one caller may have begun", uncertain)
							}
							return
						case errors.Is(err, reason):
							uncertain++
						default:
							t.Error(err)
							return
						}
					}
				})
			}
			for range callers {
				receive(t, "an answer", answered)
			}
			c.Fail(reason)
			calling.Wait()
		})
	}
}
