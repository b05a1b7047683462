package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// control registers the framework's own services. Their streams, a health watch
// or one of reflection, would last as long as the connection; here they end when
// the peer stops, so that stopping need not tell them from answers that are
// still on their way.
type control struct {
	*grpc.Server
	side     string
	stopping <-chan struct{}
	gate     gate // of streams; a unary call ends by itself
}

// RegisterService implements [grpc.ServiceRegistrar].
func (c *control) RegisterService(desc *grpc.ServiceDesc, handler any) {
	ending := *desc
	ending.Methods = slices.Clone(desc.Methods)
	for i := range ending.Methods {
		next := ending.Methods[i].Handler
		ending.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			noteCall(ctx)
			return next(srv, ctx, decode, intercept)
		}
	}
	ending.Streams = slices.Clone(desc.Streams)
	for i := range ending.Streams {
		ending.Streams[i].Handler = c.end(ending.Streams[i].Handler)
	}
	c.Server.RegisterService(&ending, handler)
}

// end returns a handler that returns when next does or when the peer stops. next
// then ends too, since its stream has: grpc cancels the context of a stream
// whose handler has returned.
func (c *control) end(next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, ss grpc.ServerStream) error {
		noteCall(ss.Context())
		if c.gate.enter() != entered {
			return tooManyControl(c.side)
		}
		done := make(chan error, 1)
		go func() {
			defer c.gate.leave()
			done <- next(srv, ss)
		}()
		select {
		case err := <-done:
			return err
		case <-c.stopping:
			return status.Errorf(codes.Unavailable, "the %s is shutting down", c.side)
		}
	}
}
