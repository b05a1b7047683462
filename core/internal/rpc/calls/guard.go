package calls

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/stacks"
)

// Guard registers the application's services, and wraps every handler. A panic does not
// end the process. A call ends when its goroutine does. Calls are counted, so that they can
// drain and have a limit. The user's interceptors see these calls and no others. The
// goroutine of a call has the method's label (package stacks).
//
// Guard wraps handlers at registration and does not intercept calls. So a call costs no
// allocation, and Guard need not look at its name.
type Guard struct {
	Server  grpc.ServiceRegistrar
	Gate    *Gate
	Side    string
	Other   string
	Unary   grpc.UnaryServerInterceptor  // nil if there is none
	Stream  grpc.StreamServerInterceptor // nil if there is none
	OnPanic func(ctx context.Context, method string, value any, stack []byte)
	// End sends the error of a call whose handler did not return. After
	// runtime.Goexit nobody else does: no recover stops the end of the goroutine.
	// A panic may hide a Goexit before it, so End is called for that too.
	End func(ctx context.Context, err error)
}

// RegisterService implements [grpc.ServiceRegistrar].
func (g *Guard) RegisterService(desc *grpc.ServiceDesc, handler any) {
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
	g.Server.RegisterService(&guarded, handler)
}

func (g *Guard) guardUnary(method string, next grpc.MethodHandler) grpc.MethodHandler {
	label := stacks.LabelOf(method)
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		if err := g.enter(); err != nil {
			return nil, err
		}
		returned := false
		defer g.sendLost(ctx, &returned, &err)
		defer g.Gate.Leave()
		defer g.finish(ctx, method, &returned, &err)
		label.Set()
		resp, err = next(srv, ctx, decode, g.Unary)
		returned = true
		return resp, err
	}
}

func (g *Guard) guardStream(info *grpc.StreamServerInfo, next grpc.StreamHandler) grpc.StreamHandler {
	label := stacks.LabelOf(info.FullMethod)
	return func(srv any, ss grpc.ServerStream) error {
		return g.serveStream(label, srv, ss, info, next)
	}
}

// ServeUnary serves a unary call whose handler is not registered with RegisterService.
// It is a [grpc.UnaryServerInterceptor].
func (g *Guard) ServeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	if err := g.enter(); err != nil {
		return nil, err
	}
	returned := false
	defer g.sendLost(ctx, &returned, &err)
	defer g.Gate.Leave()
	defer g.finish(ctx, info.FullMethod, &returned, &err)
	stacks.LabelOf(info.FullMethod).Set()
	if g.Unary != nil {
		resp, err = g.Unary(ctx, req, info, next)
	} else {
		resp, err = next(ctx, req)
	}
	returned = true
	return resp, err
}

// ServeStream serves a streaming call. It is a [grpc.StreamServerInterceptor].
func (g *Guard) ServeStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return g.serveStream(stacks.LabelOf(info.FullMethod), srv, ss, info, next)
}

func (g *Guard) serveStream(label stacks.Label, srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	if err := g.enter(); err != nil {
		return err
	}
	returned := false
	defer g.sendLost(ss.Context(), &returned, &err)
	defer g.Gate.Leave()
	defer g.finish(ss.Context(), info.FullMethod, &returned, &err)
	label.Set()
	if g.Stream != nil {
		err = g.Stream(srv, ss, info, next)
	} else {
		err = next(srv, ss)
	}
	returned = true
	return err
}

// RegisterServer lets register add services to a [*grpc.Server] (protocol.FromServer).
// Only a wire that serves with one can do that. Its [Guard.Server] then has this
// method.
func (g *Guard) RegisterServer(register func(*grpc.Server) error) error {
	r, ok := g.Server.(interface {
		RegisterServer(register func(*grpc.Server) error) error
	})
	if !ok {
		return errNoServer
	}
	return r.RegisterServer(register)
}

// RegisterNewServer lets create make the [*grpc.Server] and add services to it
// (protocol.FromNewServer). It works like RegisterServer.
func (g *Guard) RegisterNewServer(create func([]grpc.ServerOption) (*grpc.Server, error)) error {
	r, ok := g.Server.(interface {
		RegisterNewServer(create func([]grpc.ServerOption) (*grpc.Server, error)) error
	})
	if !ok {
		return errNoServer
	}
	return r.RegisterNewServer(create)
}

var errNoServer = errors.New("protocol.FromServer needs a *grpc.Server, which only the wire h2 has")

// enter lets a call in, or returns the status that refuses it. The handler has not read a
// message of a refused call.
func (g *Guard) enter() error {
	switch g.Gate.Enter() {
	case IsShut:
		return g.draining()
	case IsFull:
		return TooManyCalls(g.Side, g.Other, g.Gate.Limit)
	default:
		return nil
	}
}

func (g *Guard) draining() error {
	return refused(reasonShuttingDown, codes.Unavailable, fmt.Sprintf("the %s is shutting down and takes no new calls", g.Side)).Err()
}

// finish is deferred by every call. It returns the error that the caller gets.
func (g *Guard) finish(ctx context.Context, method string, returned *bool, err *error) {
	stacks.Clear()
	if !*returned {
		*err = g.lost(ctx, method, recover())
	}
	if *err != nil {
		*err = bounded(begun(*err))
	}
}

// sendLost is deferred by every call, and runs last. It sends the error of a call whose
// handler did not return. The call has left the gate by then: its caller can make the next
// call as soon as it has the error.
func (g *Guard) sendLost(ctx context.Context, returned *bool, err *error) {
	if !*returned {
		g.End(ctx, *err)
	}
}

// errGoexit is the value that OnPanic gets for a handler that ended its goroutine.
var errGoexit = errors.New("called runtime.Goexit, as testing's FailNow does")

// lost returns the error of a call whose handler did not return. value is what recover
// returned. It is nil for a goroutine that ends.
func (g *Guard) lost(ctx context.Context, method string, value any) error {
	text := fmt.Sprintf("panic in the handler of %s: %v", method, value)
	if value == nil {
		value = errGoexit
		text = fmt.Sprintf("the handler of %s %v", method, errGoexit)
	}
	g.OnPanic(ctx, method, value, debug.Stack())
	return status.Error(codes.Internal, text)
}

// ChainUnary makes one interceptor of several, the first outermost.
func ChainUnary(list []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if len(list) <= 1 {
		return firstOrNil(list)
	}
	outer, inner := list[0], ChainUnary(list[1:])
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return inner(ctx, req, info, next)
		})
	}
}

// ChainStream makes one interceptor of several, the first outermost.
func ChainStream(list []grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	if len(list) <= 1 {
		return firstOrNil(list)
	}
	outer, inner := list[0], ChainStream(list[1:])
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
