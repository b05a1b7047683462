package h2

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// bounds registers services, and wraps every handler, outside of [calls.Guard]. It bounds
// what a call over HTTP/2 holds on this side.
type bounds struct {
	server   *grpc.Server        // nil until it is made
	opts     []grpc.ServerOption // to make it with
	services *serverServices     // nil if no service registers itself
	answers  *calls.Gate         // nil without DrainAnswers
	side     string
	other    string
	limits   calls.Limits
	room     *room
}

// RegisterService implements [grpc.ServiceRegistrar].
func (b *bounds) RegisterService(desc *grpc.ServiceDesc, handler any) {
	bounded := *desc
	bounded.Methods = slices.Clone(desc.Methods)
	for i := range bounded.Methods {
		bounded.Methods[i].Handler = b.boundUnary(bounded.Methods[i].Handler)
	}
	bounded.Streams = slices.Clone(desc.Streams)
	for i := range bounded.Streams {
		bounded.Streams[i].Handler = b.boundStream(bounded.Streams[i].Handler)
	}
	b.made().RegisterService(&bounded, handler)
}

// made returns the server, and makes it if nothing has made it yet.
func (b *bounds) made() *grpc.Server {
	if b.server == nil {
		b.server = grpc.NewServer(b.opts...)
	}
	return b.server
}

func (b *bounds) boundUnary(next grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		if err := b.enter(ctx); err != nil {
			return nil, err
		}
		if isCompressed(ctx) {
			room, read := &messageRoom{bounds: b}, decode
			defer room.end()
			decode = func(m any) error { return room.receive(m, read) }
		}
		return next(srv, ctx, decode, intercept)
	}
}

func (b *bounds) boundStream(next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, ss grpc.ServerStream) error {
		if err := b.enter(ss.Context()); err != nil {
			return err
		}
		if isCompressed(ss.Context()) {
			inflating := &inflatedStream{ss, messageRoom{bounds: b}}
			defer inflating.room.end()
			ss = inflating
		}
		return next(srv, ss)
	}
}

// enter lets a call in, or returns the status with which it is refused.
func (b *bounds) enter(ctx context.Context) error {
	if isRefused(ctx) {
		return calls.TooMuchMetadata(b.side, b.other, b.limits.Metadata())
	}
	if b.answers != nil {
		answerGate{b.answers}.enter(ctx)
	}
	return nil
}

// endCall sends the error of a call whose handler did not return. After
// runtime.Goexit grpc's own code behind the handler never runs, and the caller waited
// until its deadline. A panic may hide a Goexit before it, so its error is sent here
// too; grpc ignores the second one.
func endCall(ctx context.Context, err error) {
	if s, ok := grpc.ServerTransportStreamFromContext(ctx).(statusWriter); ok {
		_ = s.WriteStatus(status.Convert(err)) // fails only if the connection is gone
	}
}

// statusWriter is what the stream in a handler's context is beside a
// [grpc.ServerTransportStream] (internal/transport/server_stream.go in grpc).
type statusWriter interface {
	WriteStatus(st *status.Status) error
}
