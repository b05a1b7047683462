package pw

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// heldContext is a context that ends before the functions run that wait for its end.
type heldContext struct {
	done  chan struct{}
	funcs chan func()
}

func (c *heldContext) Deadline() (deadline time.Time, ok bool) { return deadline, false }
func (c *heldContext) Done() <-chan struct{}                   { return c.done }
func (c *heldContext) Value(any) any                           { return nil }

func (c *heldContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// AfterFunc is what package context asks for.
func (c *heldContext) AfterFunc(f func()) (stop func() bool) {
	select {
	case c.funcs <- f:
	default: // of a write, which looks itself when it is woken
	}
	return func() bool { return false }
}

// TestCloseSendAfterAMessageThatWasCut cancels a stream in the middle of a large message. Its
// caller says at once that no more messages come, before the cancellation is sent. That must not
// come in the middle of the message, which would end the connection.
func TestCloseSendAfterAMessageThatWasCut(t *testing.T) {
	t.Parallel()
	p := against(t, "host", &service{})
	ctx := &heldContext{make(chan struct{}), make(chan func(), 1)}
	stream, err := testpb.NewTestServiceClient(p.real).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel := receive(t, "the watch on the context", ctx.funcs)
	ctx.funcs <- func() {} // no other one is kept
	sent := make(chan error, 1)
	go func() {
		sent <- stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: make([]byte, 32<<20)}})
	}()
	for { // the message has begun
		f, ok := p.next()
		if !ok {
			t.Fatal("the connection ended")
		}
		if f.kind == framePiece {
			break
		}
	}
	close(ctx.done)
	if err := receive(t, "the message", sent); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for {
		f, ok := p.next()
		if !ok {
			t.Fatal("the connection ended")
		}
		if f.kind == frameHalf {
			t.Fatal("the end of the messages comes in the middle of one")
		}
		if f.kind == frameCancel {
			break
		}
	}
}

// blockedConn blocks a write until it is told to go on.
type blockedConn struct {
	net.Conn
	begun, goOn chan struct{}
}

func (c *blockedConn) Write(b []byte) (int, error) {
	c.begun <- struct{}{}
	<-c.goOn
	return len(b), nil
}

// TestBuffersOfABusyWriter looks at the buffers of a writer that writes. A call that has ended gives
// them to other calls, while a goroutine of it still sends. Two calls once had the same buffer.
func TestBuffersOfABusyWriter(t *testing.T) {
	t.Parallel()
	conn := &blockedConn{begun: make(chan struct{}, 1), goOn: make(chan struct{})}
	w := &writer{raw: conn, header: trackHeaderLen, most: maxTrackUnsent, inFlight: &noCalls, lane: newLane(conn)}
	w.changed.L = &w.mu
	body := make([]byte, 2*restingTrack)
	for range 3 {
		w.mu.Lock()
		w.add(frameMessage, 0, body)
		written := make(chan struct{})
		go func() {
			w.flush()
			close(written)
		}()
		receive(t, "a write", conn.begun)
		w.mu.Lock()
		if cap(w.buf) > 0 && cap(w.spare) > 0 && &w.buf[:1][0] == &w.spare[:1][0] {
			t.Error("both buffers are the same")
		}
		w.mu.Unlock()
		conn.goOn <- struct{}{}
		receive(t, "the end of a write", written)
	}
}

// TestRoomIsGivenBackOnce ends a call in the middle of a large message in both ways. A goroutine
// that has outlived its handler can be the second.
func TestRoomIsGivenBackOnce(t *testing.T) {
	t.Parallel()
	s := &stream{room: &room{limit: 1 << 30}, limit: 1 << 20, allowed: firstWindow}
	if err := s.beginLarge(uvarintOf(200 << 10)); err != nil {
		t.Fatal(err)
	}
	if held := s.room.held.Load(); held != 200<<10 {
		t.Errorf("%d bytes are held for the message", held)
	}
	s.release()
	s.dropLarge()
	if held := s.room.held.Load(); held != 0 {
		t.Errorf("%d bytes are held after that", held)
	}
}

// TestOtherGoroutinesLearnWhyACallWasGivenUp ends a stream because a message cannot be encoded,
// while another goroutine receives. That goroutine once waited for the end of the connection.
func TestOtherGoroutinesLearnWhyACallWasGivenUp(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		p := connect(t, &service{}, &service{})
		stream, err := p.host.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, duplexName)
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan error, 1)
		go func() { received <- stream.RecvMsg(new(response)) }()
		why := status.Error(codes.Internal, "the message cannot be encoded")
		stream.(*clientStream).abandon(why) // as SendMsg does, which then ends the call
		if err := receive(t, "the receiver's error", received); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	})
}
