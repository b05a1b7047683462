package rpc_test

import (
	"errors"
	"io"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// Streams of many messages arrive whole, in both directions.
func TestWireLongStreams(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		client := testpb.NewTestServiceClient(start(t, wire, &service{duplex: echo}, nil))
		for _, size := range []int32{1, 1 << 10, 70 << 10} {
			const messages = 3000
			request := &testpb.StreamingOutputCallRequest{}
			for range messages {
				request.ResponseParameters = append(request.ResponseParameters, &testpb.ResponseParameters{Size: size})
			}
			down, err := client.StreamingOutputCall(bounded(t), request)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for ; ; got++ {
				m, err := down.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || len(m.GetPayload().GetBody()) != int(size) {
					t.Fatalf("message %d has %d bytes: %v", got, len(m.GetPayload().GetBody()), err)
				}
			}
			if got != messages {
				t.Errorf("%d messages of %d bytes came, want %d", got, size, messages)
			}
			up, err := client.StreamingInputCall(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			for i := range messages {
				if err := up.Send(&testpb.StreamingInputCallRequest{Payload: payload(int(size))}); err != nil {
					_, err := up.CloseAndRecv()
					t.Fatalf("message %d: %v", i, err)
				}
			}
			if sum, err := up.CloseAndRecv(); err != nil || sum.GetAggregatedPayloadSize() != size*messages {
				t.Errorf("the sum is %d, %v; want %d", sum.GetAggregatedPayloadSize(), err, size*messages)
			}
		}
	})
}
