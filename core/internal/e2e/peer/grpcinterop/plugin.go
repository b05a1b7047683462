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

// server is gRPC's server with additions that two of the cases need.
type server struct {
	testgrpc.TestServiceServer
	id string
}

// UnaryCall names the server if the request asks for it, for DoPickFirstUnary.
func (s server) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	resp, err := s.TestServiceServer.UnaryCall(ctx, req)
	if err == nil && req.GetFillServerId() {
		resp.ServerId = s.id
	}
	return resp, err
}

// StreamingInputCall answers an empty stream only after a cancellation.
// DoCancelAfterBegin cancels the stream, and fails if the answer comes before
// the cancellation, which can happen on one machine.
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
