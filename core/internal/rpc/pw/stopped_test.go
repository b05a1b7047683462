package pw

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// stoppableConn is a connection whose process can be stopped, so that it does not read.
type stoppableConn struct {
	net.Conn
	mu      sync.Mutex
	changed sync.Cond
	stopped bool
}

func newStoppable(conn net.Conn) *stoppableConn {
	s := &stoppableConn{Conn: conn}
	s.changed.L = &s.mu
	return s
}

func (s *stoppableConn) set(stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = stopped
	s.changed.Broadcast()
}

func (s *stoppableConn) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.stopped {
		s.changed.Wait()
	}
	return n, err
}

func (s *stoppableConn) Close() error {
	s.set(false)
	return s.Conn.Close()
}

func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestPeerIsStopped makes calls while the other side does not read. All of them end with their
// contexts. When the other side reads again, the connection serves calls.
func TestPeerIsStopped(t *testing.T) {
	t.Parallel()
	for _, secured := range []bool{false, true} {
		name := "plain"
		if secured {
			name = "TLS"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := sockets(t)
			stoppable := newStoppable(theirs)
			theirs = stoppable
			if secured {
				theirs = tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
				ours = tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
			}
			p := connectOn(t, ours, theirs, &service{}, &service{})
			t.Cleanup(func() { stoppable.set(false) })
			early, err := p.toPlugin.FullDuplexCall(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := early.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := early.Recv(); err != nil {
				t.Fatal(err)
			}
			stoppable.set(true)

			short := func() context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				t.Cleanup(cancel)
				return ctx
			}
			late := func(what string, err error) {
				t.Helper()
				if status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("%s: %v, want %v", what, err, codes.DeadlineExceeded)
				}
			}
			payload := &testpb.Payload{Body: make([]byte, 4<<20)}
			for range 5 { // more than the system buffers
				var callers sync.WaitGroup
				for _, req := range []*request{{}, {Payload: &testpb.Payload{Body: make([]byte, 60<<10)}}, {Payload: payload}} {
					callers.Go(func() {
						_, err := p.toPlugin.UnaryCall(short(), req)
						late("a unary call", err)
					})
					callers.Go(func() {
						stream, err := p.toPlugin.FullDuplexCall(short())
						if err != nil {
							late("the beginning of a stream", err)
							return
						}
						for err == nil {
							err = stream.Send(&testpb.StreamingOutputCallRequest{Payload: req.GetPayload()})
						}
						_, err = stream.Recv()
						late("a stream", err)
						_ = stream.CloseSend() // must return
					})
				}
				callers.Wait()
			}
			stoppable.set(false)
			if err := early.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := early.Recv(); err != nil {
				t.Errorf("a stream from before: %v", err)
			}
			if _, err := p.toPlugin.UnaryCall(bounded(t), &request{Payload: payload}); err != nil {
				t.Errorf("a call: %v", err)
			}
		})
	}
}

// TestCloseWhilePeerIsStopped closes a connection that is stuck in a write.
func TestCloseWhilePeerIsStopped(t *testing.T) {
	t.Parallel()
	ours, theirs := sockets(t)
	stoppable := newStoppable(theirs)
	p := connectOn(t, ours, stoppable, &service{}, &service{})
	t.Cleanup(func() { stoppable.set(false) })
	stoppable.set(true)
	ended := make(chan error, 4)
	for range cap(ended) {
		go func() {
			_, err := testpb.NewTestServiceClient(p.host.Plain()).UnaryCall(context.Background(), &request{Payload: &testpb.Payload{Body: make([]byte, 16<<20)}})
			ended <- err
		}()
	}
	eventually(t, "a write is under way", func() bool {
		p.host.w.mu.Lock()
		defer p.host.w.mu.Unlock()
		return p.host.w.busy
	})
	p.host.Close()
	for range cap(ended) {
		if err := receive(t, "the call", ended); status.Code(err) != codes.Unavailable {
			t.Errorf("%v, want %v", err, codes.Unavailable)
		}
	}
}

// TestReaderIsEvicted lets a call with a short context read for others. It leaves, and they get
// their answers.
func TestReaderIsEvicted(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := connect(t, &service{unary: func(ctx context.Context, req *request) (*response, error) {
		if string(req.GetPayload().GetBody()) == "wait" {
			<-release
		}
		return &response{}, nil
	}}, &service{})
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := p.toPlugin.UnaryCall(bounded(t), named("wait")); err != nil {
				t.Error(err)
			}
		})
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		if _, err := p.toPlugin.UnaryCall(ctx, named("wait")); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v, want %v", err, codes.DeadlineExceeded)
		}
		cancel()
	}
	close(release)
	callers.Wait()
}

// TestDeadlineWhileOthersTalk ends a call by its deadline while frames of another call keep
// coming. The call reads them.
func TestDeadlineWhileOthersTalk(t *testing.T) {
	t.Parallel()
	p := against(t, "host", &service{})
	caller := testpb.NewTestServiceClient(p.real)
	stream, err := caller.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for { // a call that is answered, so that the next caller reads
			f, ok := p.next()
			if !ok {
				return
			}
			if f.kind == frameOpen && f.id == 3 {
				p.send(frameEnd, 3, endMessage)
			}
			if f.kind == frameOpen && f.id == 5 {
				break
			}
		}
		frames := encoded(frameCredit, 1, 1)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := p.conn.Write(frames); err != nil {
					return
				}
			}
		}
	}()
	if _, err := caller.UnaryCall(bounded(t), &request{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := caller.UnaryCall(ctx, &request{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v, want %v", err, codes.DeadlineExceeded)
	}
	close(stop)
	<-stopped
	_ = stream.CloseSend()
}

// TestGoodbyeIsAwaitedAfterShutdown asks the other side to stop. The goodbye that comes next is
// for no call, so the background reads at once, and not after a tick.
func TestGoodbyeIsAwaitedAfterShutdown(t *testing.T) {
	t.Parallel()
	p := against(t, "host", &service{})
	ended := make(chan error, 1)
	go func() { ended <- p.real.Invoke(bounded(t), shutdownMethod, &request{}, &response{}) }()
	p.answer(ended)
	p.real.mu.Lock()
	defer p.real.mu.Unlock()
	if !p.real.reading {
		t.Error("nobody reads")
	}
}
