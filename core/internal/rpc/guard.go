package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// guard registers the application's services with every handler wrapped: a
// panic does not end the process, a call ends when its goroutine does, calls are
// counted so that they can drain and have a limit, and the user's interceptors see
// these calls and no others.
//
// It wraps handlers at registration instead of intercepting calls: that costs a
// call no allocation and no look at its name.
type guard struct {
	server  *grpc.Server
	gate    *gate
	keeps   bool // answered has calls leave the gate
	side    string
	other   string
	limits  Limits
	room    *room
	unary   grpc.UnaryServerInterceptor  // nil if there is none
	stream  grpc.StreamServerInterceptor // nil if there is none
	onPanic func(ctx context.Context, method string, value any, stack []byte)
}

// RegisterService implements [grpc.ServiceRegistrar].
func (g *guard) RegisterService(desc *grpc.ServiceDesc, handler any) {
	guarded := *desc
	guarded.Methods = slices.Clone(desc.Methods)
	for i := range guarded.Methods {
		m := &guarded.Methods[i]
		m.Handler = g.guardUnary("/"+desc.ServiceName+"/"+m.MethodName, m.Handler)
	}
	guarded.Streams = slices.Clone(desc.Streams)
	for i := range guarded.Streams {
		s := &guarded.Streams[i]
		s.Handler = g.guardStream(&grpc.StreamServerInfo{
			FullMethod:     "/" + desc.ServiceName + "/" + s.StreamName,
			IsClientStream: s.ClientStreams,
			IsServerStream: s.ServerStreams,
		}, s.Handler)
	}
	g.server.RegisterService(&guarded, handler)
}

func (g *guard) guardUnary(method string, next grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		noteCall(ctx)
		if err := g.enter(ctx); err != nil {
			return nil, err
		}
		returned := false
		defer g.leave(ctx)
		defer g.finish(ctx, method, &returned, &err)
		if isCompressed(ctx) {
			room, read := &inflated{guard: g}, decode
			defer room.end()
			decode = func(m any) error { return room.receive(m, read) }
		}
		resp, err = next(srv, ctx, decode, g.unary)
		returned = true
		return resp, err
	}
}

func (g *guard) guardStream(info *grpc.StreamServerInfo, next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, ss grpc.ServerStream) (err error) {
		noteCall(ss.Context())
		if err := g.enter(ss.Context()); err != nil {
			return err
		}
		returned := false
		defer g.leave(ss.Context())
		defer g.finish(ss.Context(), info.FullMethod, &returned, &err)
		if isCompressed(ss.Context()) {
			inflating := &inflatedStream{ss, inflated{guard: g}}
			defer inflating.room.end()
			ss = inflating
		}
		if g.stream != nil {
			err = g.stream(srv, ss, info, next)
		} else {
			err = next(srv, ss)
		}
		returned = true
		return err
	}
}

// enter lets a call in, or returns the status with which it is refused. The handler
// has not read a message of it then.
func (g *guard) enter(ctx context.Context) error {
	if isRefused(ctx) {
		return tooMuchMetadata(g.side, g.other, g.limits.metadata())
	}
	switch g.gate.enter() {
	case isShut:
		return g.draining()
	case isFull:
		return tooManyCalls(g.side, g.other, g.limits.Calls)
	default:
		return nil
	}
}

func (g *guard) leave(ctx context.Context) {
	if g.keeps && keep(ctx) {
		return
	}
	g.gate.leave()
}

func (g *guard) draining() error {
	return status.Errorf(codes.Unavailable, "the %s is shutting down and takes no new calls", g.side)
}

// finish is deferred by every call, and has the last word on its error.
func (g *guard) finish(ctx context.Context, method string, returned *bool, err *error) {
	if !*returned {
		*err = g.lost(ctx, method, recover())
	}
	if *err != nil {
		*err = bounded(*err)
	}
	if !*returned {
		endCall(ctx, *err)
	}
}

// errGoexit is what OnPanic is told of a handler that ended its goroutine.
var errGoexit = errors.New("called runtime.Goexit, as testing's FailNow does")

// lost returns the error of a call whose handler did not return. value is what
// recover returned: nil for a goroutine that is ending.
func (g *guard) lost(ctx context.Context, method string, value any) error {
	text := fmt.Sprintf("panic in the handler of %s: %v", method, value)
	if value == nil {
		value = errGoexit
		text = fmt.Sprintf("the handler of %s %v", method, errGoexit)
	}
	g.onPanic(ctx, method, value, debug.Stack())
	return status.Error(codes.Internal, text)
}

// endCall sends the error of a call whose handler did not return. After
// runtime.Goexit nobody else does: no recover stops the end of the goroutine, so
// that grpc's own code behind the handler never runs, and the caller waited until
// its deadline. A panic may hide a Goexit before it, so its error is sent here too;
// grpc ignores the second one.
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

// chainUnary makes one interceptor of several, the first outermost.
func chainUnary(list []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if len(list) <= 1 {
		return firstOrNil(list)
	}
	outer, inner := list[0], chainUnary(list[1:])
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return inner(ctx, req, info, next)
		})
	}
}

// chainStream makes one interceptor of several, the first outermost.
func chainStream(list []grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	if len(list) <= 1 {
		return firstOrNil(list)
	}
	outer, inner := list[0], chainStream(list[1:])
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return outer(srv, ss, info, func(srv any, ss grpc.ServerStream) error {
			return inner(srv, ss, info, next)
		})
	}
}

func firstOrNil[T any](list []T) (first T) {
	if len(list) > 0 {
		first = list[0]
	}
	return first
}
