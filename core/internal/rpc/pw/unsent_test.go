package pw

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// TestAnswerIsSentWhileTheNextHandlerBlocks sends two calls at once. The background leaves the
// answer of the first to the end of the batch. The second handler blocks, and another goroutine
// of the plugin takes the role of the reader.
func TestAnswerIsSentWhileTheNextHandlerBlocks(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	p := against(t, "plugin", &service{
		unary: func(_ context.Context, req *request) (*response, error) {
			if string(req.GetPayload().GetBody()) == "wait" {
				close(begun)
				<-release
			}
			return &response{}, nil
		},
		duplex: func(stream duplex) error {
			<-begun
			_, _ = stream.Recv()
			return nil
		},
	})
	p.open(1, duplexName, 0)
	p.send(frameOpen, 3, appendString([]byte{openNewMethod | openMessage, 1}, unaryName)...)
	p.endOf(3)
	p.real.mu.Lock()
	p.real.methods[0].quick.Store(quickRuns) // a slow machine runs no handler quickly
	p.real.methods[0].need.Store(1)
	p.real.mu.Unlock()
	waits, err := proto.Marshal(named("wait"))
	if err != nil {
		t.Fatal(err)
	}
	p.write(slices.Concat(
		encoded(frameOpen, 5, openMessage, 1),
		encoded(frameOpen, 7, append([]byte{openMessage, 1}, waits...)...),
	), hang)
	receive(t, "the second handler", begun)
	if s := p.endOf(5); s.Code() != codes.OK {
		t.Error(s)
	}
	close(release)
	if s := p.endOf(7); s.Code() != codes.OK {
		t.Error(s)
	}
	p.send(frameHalf, 1)
	p.endOf(1)
}
