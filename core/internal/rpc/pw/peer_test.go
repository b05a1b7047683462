package pw

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// TestProtocolErrors sends what breaks the rules. Each is the end of the connection.
func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	openOf := func(id uint32) []byte { return encoded(frameOpen, id, openPayload(duplexName, 0)...) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	large := encoded(frameBegin, 1, uvarintOf(100<<10)...)
	for _, tt := range []struct {
		name string
		sent []byte
	}{
		{"kind 0", encoded(0, 1)},
		{"a kind that is not known", encoded(11, 1)},
		{"a frame for no call", encoded(frameHalf, 0)},
		{"a goodbye for a call", encoded(frameGoodbye, 1)},
		{"a frame for a call that has not begun", encoded(frameHalf, 3)},
		{"an answer to a call that has not begun", encoded(frameEnd, 2, 0)},
		{"a call with a number of this side", openOf(2)},
		{"a call with the number of one before", join(openOf(1), openOf(1))},
		{"a call with a lower number", join(openOf(3), openOf(1))},
		{"an open frame without a payload", encoded(frameOpen, 1)},
		{"a method that was not sent", encoded(frameOpen, 1, 0, 1)},
		{"method number 0 without a name", encoded(frameOpen, 1, 0, 0)},
		{"a method number too far", encoded(frameOpen, 1, openNewMethod, 2, 1, 'x')},
		{"a method's name that is too long", encoded(frameOpen, 1, appendString([]byte{openNewMethod, 0}, strings.Repeat("x", maxMethod+1))...)},
		{"a long name with a number", encoded(frameOpen, 1, appendString([]byte{openNewMethod, 1}, strings.Repeat("x", maxNumbered+1))...)},
		{"a name that ends early", encoded(frameOpen, 1, openNewMethod, 0, 9, 'x')},
		{"a number that does not end", encoded(frameOpen, 1, openNewMethod, 0xff)},
		{"a number of more than 64 bits", encoded(frameOpen, 1, append([]byte{openNewMethod}, bytes.Repeat([]byte{0xff}, 11)...)...)},
		{"bytes after an open frame", encoded(frameOpen, 1, append(openPayload(duplexName, 0), 1)...)},
		{"metadata that ends early", encoded(frameOpen, 1, append(openPayload(duplexName, openMetadata), 2, 1, 'x')...)},
		{"too much metadata", encoded(frameOpen, 1, append(openPayload(duplexName, openMetadata), appendBlock(nil, bytes.Repeat([]byte{0, 0}, calls.MaxMetadata/fieldOverhead+1))...)...)},
		{"a codec's name that is too long", encoded(frameOpen, 1, append(openPayload(duplexName, openSubtype), appendString(nil, strings.Repeat("x", maxSubtype+1))...)...)},
		{"a message that is too large for a frame", join(openOf(1), encoded(frameMessage, 1, make([]byte, smallMessage+1)...))},
		{"a frame that is too large", append([]byte{0xff, 0xff, 0xff, byte(frameMessage)}, 1, 0, 0, 0)},
		{"a half with a payload", join(openOf(1), encoded(frameHalf, 1, 0))},
		{"a message after the last", join(openOf(1), encoded(frameHalf, 1), encoded(frameMessage, 1))},
		{"a large message that is small", join(openOf(1), encoded(frameBegin, 1, uvarintOf(smallMessage)...))},
		{"a large message that is too large", join(openOf(1), encoded(frameBegin, 1, uvarintOf(maxLarge+1)...))},
		{"bytes after a size", join(openOf(1), encoded(frameBegin, 1, append(uvarintOf(100<<10), 0)...))},
		{"a message within another", join(openOf(1), large, encoded(frameMessage, 1))},
		{"a large message within another", join(openOf(1), large, large)},
		{"the last message within another", join(openOf(1), large, encoded(frameHalf, 1))},
		{"a piece of no message", join(openOf(1), encoded(framePiece, 1, 0))},
		{"an empty piece", join(openOf(1), large, encoded(framePiece, 1))},
		{"a piece too much", join(openOf(1), large, encoded(framePiece, 1, make([]byte, 100<<10+1)...))},
		{"a piece that is too large", join(openOf(1), large, encoded(framePiece, 1, make([]byte, pieceSize+1)...))},
		{"messages without credit", join(openOf(1), bytes.Repeat(encoded(frameMessage, 1, make([]byte, smallMessage)...), firstWindow/smallMessage), encoded(frameMessage, 1))},
		{"empty messages without credit", join(openOf(1), bytes.Repeat(encoded(frameMessage, 1), firstWindow/messageCost+1))},
		{"no credit", join(openOf(1), encoded(frameCredit, 1, 0))},
		{"too much credit", join(openOf(1), encoded(frameCredit, 1, uvarintOf(maxCredit+1)...))},
		{"bytes after credit", join(openOf(1), encoded(frameCredit, 1, 1, 1))},
		{"a header of the caller", join(openOf(1), encoded(frameHeader, 1))},
		{"an end of the caller", join(openOf(1), encoded(frameEnd, 1, 0))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{}, 8)
			p := against(t, "plugin", &service{duplex: func(stream duplex) error {
				begun <- struct{}{}
				<-stream.Context().Done()
				return nil
			}})
			p.write(tt.sent, hang)
			p.assertEnded(tt.name)
			p.real.mu.Lock()
			defer p.real.mu.Unlock()
			if !errors.Is(p.real.lostWith, errProtocol) {
				t.Errorf("lost with %v, want %v", p.real.lostWith, errProtocol)
			}
		})
	}
}

// TestAnswersThatBreakTheRules answers a call of the host by hand.
func TestAnswersThatBreakTheRules(t *testing.T) {
	t.Parallel()
	large := encoded(frameBegin, 1, uvarintOf(100<<10)...)
	for _, tt := range []struct {
		name string
		sent [][]byte
	}{
		{"a cancel", [][]byte{encoded(frameCancel, 1)}},
		{"a half", [][]byte{encoded(frameHalf, 1)}},
		{"an empty end", [][]byte{encoded(frameEnd, 1)}},
		{"two headers", [][]byte{encoded(frameHeader, 1), encoded(frameHeader, 1)}},
		{"a header that ends early", [][]byte{encoded(frameHeader, 1, 5, 'x')}},
		{"a header after a message", [][]byte{encoded(frameMessage, 1), encoded(frameHeader, 1)}},
		{"a header twice", [][]byte{encoded(frameHeader, 1), encoded(frameEnd, 1, endHeader, 0)}},
		{"a trailer that ends early", [][]byte{encoded(frameEnd, 1, endTrailer, 2, 5, 'x')}},
		{"bytes after the end", [][]byte{encoded(frameEnd, 1, 0, 0)}},
		{"a good end in a message", [][]byte{large, encoded(frameEnd, 1, 0)}},
		{"an end with a message in a message", [][]byte{large, encoded(frameEnd, 1, endMessage)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := against(t, "host", &service{})
			called := make(chan error, 1)
			go func() {
				_, err := testpb.NewTestServiceClient(p.real.Plain()).UnaryCall(bounded(t), &request{})
				called <- err
			}()
			if f, ok := p.next(); !ok || f.kind != frameOpen || f.id != 1 {
				t.Fatalf("%v, %t", f, ok)
			}
			p.write(bytes.Join(tt.sent, nil), hang)
			p.assertEnded(tt.name)
			if err := receive(t, "the call", called); status.Code(err) != codes.Unavailable {
				t.Errorf("%v, want %v", err, codes.Unavailable)
			}
		})
	}
}

// TestFramesAfterTheEnd cancels calls in the middle of messages and goes on sending, as a
// correct peer does whose frames were on their way. The connection goes on.
func TestFramesAfterTheEnd(t *testing.T) {
	t.Parallel()
	p := against(t, "plugin", &service{})
	large := uvarintOf(300 << 10)
	p.open(1, duplexName, 0)
	p.send(frameBegin, 1, large...)
	p.send(framePiece, 1, make([]byte, 100)...)
	p.send(frameCancel, 1)
	p.send(framePiece, 1, make([]byte, 100)...)
	p.send(frameMessage, 1, 0)
	p.send(frameBegin, 1, large...)
	p.send(frameHalf, 1)
	p.send(frameCredit, 1, 1)
	p.send(frameCancel, 1)
	p.assertServes(3)
	eventually(t, "the call has ended", func() bool { // its end was sent a little before
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return p.real.served[3] == nil
	})
	for _, k := range []kind{frameMessage, frameHalf, frameCancel} {
		p.send(k, 3)
	}
	p.assertServes(5)
}

// TestCancelWhileSending cancels streams while other goroutines send on them. The connection
// goes on.
func TestCancelWhileSending(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testCancelWhileSending)
}

func testCancelWhileSending(t *testing.T, connect connector) {
	t.Helper()
	p := connect(t, &service{duplex: func(stream duplex) error {
		for {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
	}}, &service{})
	for _, size := range []int{0, 1000, 1 << 20} {
		for range 30 {
			ctx, cancel := context.WithCancel(bounded(t))
			stream, err := p.toPlugin.FullDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan struct{}, 1)
			var sender sync.WaitGroup
			sender.Go(func() {
				for i := range math.MaxInt {
					if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: make([]byte, size)}}); err != nil {
						return
					}
					if i == 3 {
						sent <- struct{}{}
					}
				}
			})
			receive(t, "messages", sent)
			cancel()
			sender.Wait()
		}
	}
	if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
		t.Errorf("a call after that: %v", err)
	}
}

// TestBothDirectionsWait sends and receives on a stream from two goroutines. Both have to wait
// for the other side.
func TestBothDirectionsWait(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testBothDirectionsWait)
}

func testBothDirectionsWait(t *testing.T, connect connector) {
	t.Helper()
	p := connect(t, &service{}, &service{})
	const messages = 200
	var streams sync.WaitGroup
	for range 8 {
		streams.Go(func() {
			stream, err := p.toPlugin.FullDuplexCall(bounded(t))
			if err != nil {
				t.Error(err)
				return
			}
			var sender sync.WaitGroup
			sender.Go(func() {
				for range messages {
					if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: make([]byte, 40<<10)}}); err != nil {
						t.Error(err)
						return
					}
				}
				if err := stream.CloseSend(); err != nil {
					t.Error(err)
				}
			})
			got := 0
			for ; ; got++ {
				if _, err := stream.Recv(); err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					break
				}
			}
			sender.Wait()
			if got != messages {
				t.Errorf("%d messages, want %d", got, messages)
			}
		})
	}
	streams.Wait()
}

// TestNumbersBeginAgain makes calls over the largest number of a call.
func TestNumbersBeginAgain(t *testing.T) {
	t.Parallel()
	p := connect(t, &service{}, &service{})
	for side, c := range map[string]*conn{"host": p.host, "plugin": p.plugin} {
		old, err := testpb.NewTestServiceClient(c).FullDuplexCall(bounded(t)) // keeps its number
		if err != nil {
			t.Fatal(err)
		}
		echoed := func() {
			t.Helper()
			if err := old.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := old.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		echoed()
		for _, jump := range []uint32{1<<31 - 20, 1<<31 - 20} { // no jump is larger than half of all numbers
			c.mu.Lock()
			c.next += jump
			c.mu.Unlock()
			for range 50 {
				if _, err := testpb.NewTestServiceClient(c).UnaryCall(bounded(t), &request{}); err != nil {
					t.Fatalf("%s: %v", side, err)
				}
			}
			echoed()
		}
		c.mu.Lock()
		if c.next > 1<<20 {
			t.Errorf("%s: the next number is %d", side, c.next)
		}
		c.mu.Unlock()
	}
}

// TestHandlerIsOutlived leaves goroutines behind that use the stream of a handler that has
// returned.
func TestHandlerIsOutlived(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testHandlerIsOutlived)
}

func testHandlerIsOutlived(t *testing.T, connect connector) {
	t.Helper()
	ended := make(chan error, 2)
	begun := make(chan struct{}, 2)
	p := connect(t, &service{duplex: func(stream duplex) error {
		go func() {
			begun <- struct{}{}
			_, err := stream.Recv()
			ended <- err
		}()
		go func() {
			begun <- struct{}{}
			for {
				if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 1000)}}); err != nil {
					ended <- err
					return
				}
			}
		}()
		<-begun
		<-begun
		return status.Error(codes.Aborted, "I leave")
	}}, &service{})
	stream, err := p.toPlugin.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Aborted {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := receive(t, "the goroutine", ended); err == nil {
			t.Error("it got no error")
		}
	}
}

// TestInlineHandlersThatDoNotReturn ends the goroutine of the reader, or panics in it.
func TestInlineHandlersThatDoNotReturn(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testInlineHandlersThatDoNotReturn)
}

func testInlineHandlersThatDoNotReturn(t *testing.T, connect connector) {
	t.Helper()
	p := connect(t, &service{unary: func(_ context.Context, req *request) (*response, error) {
		switch string(req.GetPayload().GetBody()) {
		case "goexit":
			goruntime.Goexit()
		case "panic":
			panic("the end")
		}
		return &response{}, nil
	}}, &service{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := range 300 {
				name, want := "", codes.OK
				switch i % 50 {
				case 48:
					name, want = "goexit", codes.Internal
				case 49:
					name, want = "panic", codes.Internal
				}
				if _, err := p.toPlugin.UnaryCall(bounded(t), named(name)); status.Code(err) != want {
					t.Errorf("call %d: %v, want %v", i, err, want)
					return
				}
			}
		})
	}
	callers.Wait()
}

// TestCloseWithInlineHandler closes a connection whose reader runs a handler that ignores its
// context.
func TestCloseWithInlineHandler(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testCloseWithInlineHandler)
}

func testCloseWithInlineHandler(t *testing.T, connect connector) {
	t.Helper()
	release, begun := make(chan struct{}), make(chan struct{}, 1)
	p := connect(t, &service{unary: func(_ context.Context, req *request) (*response, error) {
		if string(req.GetPayload().GetBody()) == "wait" {
			begun <- struct{}{}
			<-release
		}
		return &response{}, nil
	}}, &service{})
	for range 3 * quickRuns {
		if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
			t.Fatal(err)
		}
	}
	called := make(chan error, 1)
	go func() {
		_, err := testpb.NewTestServiceClient(p.host.Plain()).UnaryCall(bounded(t), named("wait"))
		called <- err
	}()
	receive(t, "the handler", begun)
	closed := make(chan struct{})
	go func() {
		p.plugin.Close()
		close(closed)
	}()
	receive(t, "Close", closed)
	close(release)
	if err := receive(t, "the call", called); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestNestedCalls nests calls 100 deep over one connection.
func TestNestedCalls(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testNestedCalls)
}

func testNestedCalls(t *testing.T, connect connector) {
	t.Helper()
	var p *pair
	relay := func(next func() testpb.TestServiceClient) *service {
		return &service{unary: func(ctx context.Context, req *request) (*response, error) {
			if req.GetResponseSize() == 0 {
				return &response{}, nil
			}
			return next().UnaryCall(ctx, &request{ResponseSize: req.GetResponseSize() - 1})
		}}
	}
	ready := make(chan struct{})
	p = connect(t, relay(func() testpb.TestServiceClient { <-ready; return p.toHost }), relay(func() testpb.TestServiceClient { <-ready; return p.toPlugin }))
	close(ready)
	for range 20 {
		if _, err := p.toPlugin.UnaryCall(bounded(t), &request{ResponseSize: 100}); err != nil {
			t.Fatal(err)
		}
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if _, err := p.toPlugin.UnaryCall(bounded(t), &request{ResponseSize: 100}); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
}

// TestBlockedHandlerDelaysNobody blocks a handler that was quick before, for as long as other
// calls take.
func TestBlockedHandlerDelaysNobody(t *testing.T) {
	inTurn(t, testBlockedHandlerDelaysNobody)
}

func testBlockedHandlerDelaysNobody(t *testing.T, connect connector) {
	t.Helper()
	for _, processors := range []int{1, 2, 4} {
		t.Run(strconv.Itoa(processors), func(t *testing.T) {
			defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(processors))
			release, begun := make(chan struct{}), make(chan struct{}, 1)
			p := connect(t, &service{unary: func(_ context.Context, req *request) (*response, error) {
				if string(req.GetPayload().GetBody()) == "wait" {
					begun <- struct{}{}
					<-release
				}
				return &response{}, nil
			}}, &service{})
			for range 3 * quickRuns {
				if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
					t.Fatal(err)
				}
			}
			called := make(chan error, 1)
			go func() {
				_, err := p.toPlugin.UnaryCall(bounded(t), named("wait"))
				called <- err
			}()
			receive(t, "the handler", begun)
			for range 100 {
				if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-called:
				t.Errorf("the blocked call has ended: %v", err)
			default:
			}
			close(release)
			if err := receive(t, "the blocked call", called); err != nil {
				t.Error(err)
			}
		})
	}
}
