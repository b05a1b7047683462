package h2_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"
)

// heldCodec holds an answer between the return of its handler and the
// connection.
type heldCodec struct {
	encoding.CodecV2

	reached, release chan struct{}
}

const heldName = "held"

var held = &heldCodec{
	CodecV2: encoding.GetCodecV2(proto.Name),
	reached: make(chan struct{}),
	release: make(chan struct{}),
}

func (*heldCodec) Name() string { return heldName }

func (c *heldCodec) Marshal(v any) (mem.BufferSlice, error) {
	if _, answer := v.(*testpb.SimpleResponse); answer {
		c.reached <- struct{}{}
		<-c.release
	}
	return c.CodecV2.Marshal(v)
}

// TestDrainAnswers checks that a drain waits for an answer that is not sent yet, although
// its handler has returned.
func TestDrainAnswers(t *testing.T) {
	p := connect(t, &service{}, func(_ *clientConfig, server *serverConfig) { server.DrainAnswers = true })
	called := make(chan error, 1)
	go func() {
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}, grpc.CallContentSubtype(heldName))
		called <- err
	}()
	receive(t, "the answer", held.reached)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.server.Drain(over); err == nil {
		t.Error("Drain = nil before the answer is on its way")
	}
	held.release <- struct{}{}
	if err := p.server.Drain(bounded(t)); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := receive(t, "the end of the call", called); err != nil {
		t.Errorf("the call: %v", err)
	}
	if err := p.server.Stop(bounded(t), hang); err != nil {
		t.Errorf("Stop: %v", err)
	}
}
