// Package grpcecho has both ends of the service for the peers whose generated code is
// that of gRPC: grpc-go, go-plugin and Plugwire.
package grpcecho

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/work"
)

// These are the metadata pairs of a call, in both directions.
const (
	keyTrace, valueTrace   = "trace-id", "4bf92f3577b34da6a3ce929d0e0e4736"
	keyTenant, valueTenant = "tenant", "benchmark"
)

// Server implements the service.
type Server struct {
	echopb.UnimplementedEchoServer

	// Back returns a client of the host, for callbacks. The payload is that of the call.
	Back func(context.Context, *messages.Payload) (echopb.EchoClient, error)

	mixed work.SleepyHandler
}

// Unary implements [echopb.EchoServer].
func (*Server) Unary(_ context.Context, p *messages.Payload) (*messages.Payload, error) {
	return work.Unary(p), nil
}

// Mixed implements [echopb.EchoServer].
func (s *Server) Mixed(_ context.Context, p *messages.Payload) (*messages.Payload, error) {
	return s.mixed.Call(p), nil
}

// Metadata implements [echopb.EchoServer].
func (*Server) Metadata(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	trace, tenant := metadata.ValueFromIncomingContext(ctx, keyTrace), metadata.ValueFromIncomingContext(ctx, keyTenant)
	if len(trace) != 1 || len(tenant) != 1 {
		return nil, status.Error(codes.InvalidArgument, "the two metadata pairs are missing")
	}
	if _, ok := ctx.Deadline(); !ok {
		return nil, status.Error(codes.InvalidArgument, "the deadline is missing")
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(keyTrace, trace[0], keyTenant, tenant[0])); err != nil {
		return nil, err
	}
	return work.Unary(p), nil
}

// Callback implements [echopb.EchoServer].
func (s *Server) Callback(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	if s.Back == nil {
		return nil, status.Error(codes.Unimplemented, "no way back to the host")
	}
	client, err := s.Back(ctx, p)
	if err != nil {
		return nil, err
	}
	return client.Unary(ctx, &messages.Payload{Data: p.GetData()})
}

// ServerStream implements [echopb.EchoServer].
func (*Server) ServerStream(req *messages.StreamRequest, s grpc.ServerStreamingServer[messages.Payload]) error {
	return work.SendAll(req, s.Send)
}

// ClientStream implements [echopb.EchoServer].
func (*Server) ClientStream(s grpc.ClientStreamingServer[messages.Payload, messages.Summary]) error {
	n, err := work.Count(s.Recv)
	if err != nil {
		return err
	}
	return s.SendAndClose(&messages.Summary{Count: int64(n)})
}

// Bidi implements [echopb.EchoServer].
func (*Server) Bidi(s grpc.BidiStreamingServer[messages.Payload, messages.Payload]) error {
	return work.Echo(s.Recv, s.Send)
}
