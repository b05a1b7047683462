package pw

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// TestManyAnswersToAUnaryCall calls a method that is a stream for the other side. The call ends
// with an error when a second message comes, and not when the other side has ended: that may wait
// for credit.
func TestManyAnswersToAUnaryCall(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		for _, size := range []int{0, 60 << 10, 1 << 20} {
			p := connect(t, &service{duplex: func(stream duplex) error {
				for {
					if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, size)}}); err != nil {
						return err
					}
				}
			}}, &service{})
			err := p.host.Invoke(bounded(t), duplexName, &request{}, new(response))
			if status.Code(err) != codes.Internal {
				t.Errorf("messages of %d bytes: %v, want %v", size, err, codes.Internal)
			}
			assertNothingLeft(t, p)
		}
	})
}

// TestAnswerBeforeTheEnd sends a large answer to a unary call, and the end of the call after it
// has come. The caller waits for that.
func TestAnswerBeforeTheEnd(t *testing.T) {
	t.Parallel()
	onEachMapping(t, func(t *testing.T, connect connector) {
		t.Helper()
		p := connect(t, &service{duplex: func(stream duplex) error {
			if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 1<<20)}}); err != nil {
				return err
			}
			_, err := stream.Recv() // the caller has its answer, and sends the message before it waits
			return err
		}}, &service{})
		answer := new(response)
		if err := p.host.Invoke(bounded(t), duplexName, &request{}, answer); err != nil || len(answer.GetPayload().GetBody()) != 1<<20 {
			t.Errorf("%v, and %d bytes", err, len(answer.GetPayload().GetBody()))
		}
		assertNothingLeft(t, p)
	})
}

// TestSecondGoodbye says goodbye twice, which is against the rules: each goodbye costs the other
// side a goroutine for each call.
func TestSecondGoodbye(t *testing.T) {
	t.Parallel()
	p := againstMesh(t, "host", &service{})
	caller := testpb.NewTestServiceClient(p.real.Plain())
	stream, err := caller.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	p.acceptOpen()
	for range 2 {
		if _, err := p.first.Write(encoded(frameGoodbye, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	p.assertLost("a second goodbye", errProtocol)
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want %v", err, codes.Unavailable)
	}
}

// TestGoodbyeWhileOthersWait says goodbye while one goroutine waits for the header of a stream,
// and another for a message. Both get what they wait for, and so does the one that waits for the
// end because of the goodbye.
func TestGoodbyeWhileOthersWait(t *testing.T) {
	t.Parallel()
	for range 20 {
		p := againstMesh(t, "host", &service{})
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		stream, err := testpb.NewTestServiceClient(p.real.Plain()).FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l := p.acceptOpen()
		var k *call
		p.real.mu.Lock()
		for _, k = range p.real.made {
		}
		p.real.mu.Unlock()
		waits := func(what string, is func() bool) {
			eventually(t, what, func() bool {
				p.real.mu.Lock()
				defer p.real.mu.Unlock()
				return is()
			})
		}
		header := make(chan error, 1)
		go func() {
			_, err := stream.Header()
			header <- err
		}()
		waits("a goroutine reads", func() bool { return k.l.reading })
		messages := make(chan error, 3)
		go func() {
			for range 3 {
				_, err := stream.Recv()
				messages <- err
			}
		}()
		waits("a goroutine waits for a message", func() bool { return k.receiver.isListed })
		if _, err := p.first.Write(encoded(frameGoodbye, 0, 0)); err != nil {
			t.Fatal(err)
		}
		waits("a goroutine waits for the end", func() bool { return k.ends.isListed })
		for range 2 {
			l.write(trackFrame(frameMessage))
			if err := receive(t, "a message", messages); err != nil {
				t.Fatal(err)
			}
		}
		if err := receive(t, "the header", header); err != nil {
			t.Error(err)
		}
		l.write(trackFrame(frameEnd, 0))
		if err := receive(t, "the end", messages); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		receive(t, "the end of the connection", p.real.lost)
	}
}
