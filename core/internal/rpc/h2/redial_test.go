package h2_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
)

// ending is a server of another framework, which ends its connections.
type ending struct {
	t      *testing.T
	path   string
	server *grpc.Server
	served chan struct{}
	dials  atomic.Int32

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// newEnding starts one, to which the peer that is returned is connected.
func newEnding(t *testing.T, gone <-chan struct{}) (*ending, *h2.Client) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("it listens again on the path of a unix socket")
	}
	e := &ending{t: t, path: filepath.Join(t.TempDir(), "s")}
	e.start()
	t.Cleanup(func() { e.stop() })
	conn, err := e.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h2.Connect(bounded(t), calls.ClientConfig{
		Side: "host", Other: "plugin", MaxMessageSize: calls.DefaultMaxMessageSize,
		IsControl: func(string) bool { return false },
	}, h2.Link{Stream: plainStream(conn), Redial: e.dial, Gone: gone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return e, p
}

func (e *ending) dial(ctx context.Context) (net.Conn, error) {
	e.dials.Add(1)
	var d net.Dialer
	return d.DialContext(ctx, "unix", e.path)
}

// start begins to listen, and to serve.
func (e *ending) start() {
	e.t.Helper()
	ln, err := net.Listen("unix", e.path)
	if err != nil {
		e.t.Fatal(err)
	}
	e.server, e.served = grpc.NewServer(), make(chan struct{})
	testpb.RegisterTestServiceServer(e.server, &service{duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}})
	server, served := e.server, e.served
	go func() {
		defer close(served)
		_ = server.Serve(recording{ln, e}) // it ends as it is told to
	}()
}

// stop ends it, with its connections and its socket.
func (e *ending) stop() {
	e.server.Stop()
	<-e.served
}

// cut ends the connections, without a word.
func (e *ending) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, conn := range e.conns {
		_ = conn.Close()
	}
	e.conns = nil
}

type recording struct {
	net.Listener
	*ending
}

func (r recording) Accept() (net.Conn, error) {
	conn, err := r.Listener.Accept()
	if err == nil {
		r.mu.Lock()
		r.conns = append(r.conns, conn)
		r.mu.Unlock()
	}
	return conn, err
}

func call(t *testing.T, p *h2.Client) error {
	t.Helper()
	_, err := testpb.NewTestServiceClient(p).UnaryCall(bounded(t), &testpb.SimpleRequest{})
	return err
}

// hold begins a call, which lasts until its connection ends.
func hold(t *testing.T, p *h2.Client) testpb.TestService_FullDuplexCallClient {
	t.Helper()
	stream, err := testpb.NewTestServiceClient(p).FullDuplexCall(bounded(t))
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestRedial cuts connections. The calls on them fail, and others do not, until the other
// side can no longer be dialed.
func TestRedial(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]chan struct{}{"watched": make(chan struct{}), "by its connection": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, p := newEnding(t, gone)
			for range 3 {
				held := hold(t, p)
				e.cut()
				if _, err := held.Recv(); status.Code(err) != codes.Unavailable {
					t.Errorf("the call that is cut: %v", err)
				}
				if err := call(t, p); err != nil {
					t.Errorf("the next call: %v", err)
				}
			}
			held := hold(t, p)
			e.stop()
			reason := errors.New("it crashed")
			if gone == nil {
				receive(t, "Lost", p.Lost())
			} else {
				close(gone)
			}
			p.Fail(reason)
			_, err := held.Recv()
			for _, err := range []error{err, call(t, p)} {
				if status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
					t.Errorf("a call after the end: %v", err)
				}
			}
		})
	}
}

// TestRedialInVain makes calls to a side that lives and cannot be dialed. Their errors say
// that, and only the first calls wait. When the side can be dialed again, calls succeed.
func TestRedialInVain(t *testing.T) {
	t.Parallel()
	e, p := newEnding(t, make(chan struct{}))
	if err := p.Reach(bounded(t)); err != nil {
		t.Error(err)
	}
	held := hold(t, p)
	e.stop()
	_, err := held.Recv()
	for range 3 {
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the plugin has ended the connection, goes on running, and cannot be dialed again") {
			t.Errorf("a call: %v", err)
		}
		err = call(t, p)
	}
	if err := p.Reach(bounded(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Reach: %v, want %v", err, fs.ErrNotExist)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := testpb.NewTestServiceClient(p).UnaryCall(ended, &testpb.SimpleRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("a call of a caller that has gone: %v", err)
	}
	e.start()
	for err = call(t, p); err != nil; err = call(t, p) {
		if bounded(t).Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := p.Reach(bounded(t)); err != nil {
		t.Error(err)
	}
}

// TestRedialAtTheEndOfACall ends the context of a call while this side does not know yet
// whether the other side, which has ended the connection, has ended too.
func TestRedialAtTheEndOfACall(t *testing.T) {
	t.Parallel()
	const soon = 20 * time.Millisecond
	for _, tt := range []struct {
		name string
		ctx  func(ctx context.Context) (context.Context, context.CancelFunc)
		want codes.Code
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, soon) }, codes.DeadlineExceeded},
		{"cancellation", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(soon, cancel)
			return ctx, cancel
		}, codes.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, p := newEnding(t, make(chan struct{}))
			if err := p.Reach(bounded(t)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := tt.ctx(t.Context())
			defer cancel()
			stream, err := testpb.NewTestServiceClient(p).FullDuplexCall(ctx)
			if err == nil {
				e.stop()
			}
			for err == nil { // there may be an answer from before
				_, err = stream.Recv()
			}
			if status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestRedialIsLazy ends connections without calls. A side whose end is known by other means
// is not dialed then.
func TestRedialIsLazy(t *testing.T) {
	t.Parallel()
	e, p := newEnding(t, make(chan struct{}))
	if err := call(t, p); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		e.cut()
		time.Sleep(time.Millisecond)
	}
	if n := e.dials.Load(); n != 1 {
		t.Errorf("%d dials without a call", n)
	}
	if err := call(t, p); err != nil {
		t.Error(err)
	}
}
