package grpcinterop

import (
	"context"
	"crypto/rand"
	"errors"
	"io"

	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
)

// Plugin is the program interop-plugin, which serves the test service.
func Plugin() {
	plugin.Main(
		protocol.Bind(
			protocol.New("grpc.testing", 1, &testgrpc.TestService_ServiceDesc),
			server{interop.NewTestServer(), rand.Text()}),
		plugin.WithTransports(ways.All()...),
	)
}

// server is gRPC's with what two of the cases want and it does not do.
type server struct {
	testgrpc.TestServiceServer
	id string
}

// UnaryCall says which server it is when it is asked, for DoPickFirstUnary.
func (s server) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	resp, err := s.TestServiceServer.UnaryCall(ctx, req)
	if err == nil && req.GetFillServerId() {
		resp.ServerId = s.id
	}
	return resp, err
}

// StreamingInputCall answers a stream of nothing only when it was cancelled:
// DoCancelAfterBegin cancels it, and would take an answer that is quicker than
// the cancellation, as it can be on one machine, for a failure.
func (s server) StreamingInputCall(stream testgrpc.TestService_StreamingInputCallServer) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	if err != nil {
		return err
	}
	return s.TestServiceServer.StreamingInputCall(&unread{stream, first})
}

// unread is a stream whose first message has been received already.
type unread struct {
	testgrpc.TestService_StreamingInputCallServer
	first *testgrpc.StreamingInputCallRequest
}

func (u *unread) Recv() (*testgrpc.StreamingInputCallRequest, error) {
	if first := u.first; first != nil {
		u.first = nil
		return first, nil
	}
	return u.TestService_StreamingInputCallServer.Recv()
}
