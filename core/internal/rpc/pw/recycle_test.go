package pw

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// TestCallIsUsedAgainWhileItsPieceArrives ends a call in the middle of a piece, which another
// goroutine reads straight into the call's message. The memory of the call is used again, so the
// reader must not look at the call any more.
func TestCallIsUsedAgainWhileItsPieceArrives(t *testing.T) {
	t.Parallel()
	p := against(t, "host", &service{})
	caller := testpb.NewTestServiceClient(p.real)
	const size = 100 << 10
	for id := uint32(1); id < 20; id += 2 {
		ctx, cancel := context.WithCancel(bounded(t))
		ended := make(chan error, 1)
		go func() {
			_, err := caller.UnaryCall(ctx, &request{})
			ended <- err
		}()
		if f, ok := p.next(); !ok || f.kind != frameOpen || f.id != id {
			t.Fatalf("%v, %t", f, ok)
		}
		begin := append(encoded(frameBegin, id, uvarintOf(size)...), encoded(framePiece, id, make([]byte, size)...)...)
		half := len(begin) - size/2
		p.write(begin[:half], hang)
		var large []byte
		eventually(t, "half of the piece has come", func() bool {
			p.real.mu.Lock()
			defer p.real.mu.Unlock()
			if k := p.real.made[id]; k != nil {
				large = k.large
			}
			return len(large) == size/2 && p.real.reading && p.real.reader == nil // in the background
		})
		cancel()
		eventually(t, "the connection has forgotten the call", func() bool {
			p.real.mu.Lock()
			defer p.real.mu.Unlock()
			return p.real.made[id] == nil
		})
		p.write(begin[half:], hang) // before anything else shows that the call was given back
		if err := receive(t, "the call", ended); status.Code(err) != codes.Canceled {
			t.Fatal(err)
		}
		if f, ok := p.next(); !ok || f.kind != frameCancel {
			t.Fatalf("%v, %t", f, ok)
		}
	}
}
