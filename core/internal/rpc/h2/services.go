package h2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// serverServices serves the calls of services that registered themselves on the
// [*grpc.Server] (protocol.FromServer). Their handlers cannot be wrapped, so it
// intercepts their calls. Other calls pass it unchanged. A server without such services
// has no interceptor, which would cost every stream an allocation.
type serverServices struct {
	bounds    *bounds
	guard     *calls.Guard
	isControl func(fullMethod string) bool
	names     map[string]bool // complete before the server serves
}

func newServerServices(b *bounds, g *calls.Guard, isControl func(string) bool) *serverServices {
	return &serverServices{bounds: b, guard: g, isControl: isControl, names: make(map[string]bool)}
}

// options makes a server intercept calls.
func (r *serverServices) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(r.serveUnary), grpc.ChainStreamInterceptor(r.serveStream)}
}

// RegisterServer implements [calls.Guard.RegisterServer].
func (b *bounds) RegisterServer(register func(*grpc.Server) error) error {
	if b.services == nil {
		return errNotExpected
	}
	return b.services.register(b.made(), register)
}

// RegisterNewServer implements [calls.Guard.RegisterNewServer].
func (b *bounds) RegisterNewServer(create func([]grpc.ServerOption) (*grpc.Server, error)) error {
	switch {
	case b.services == nil:
		return errNotExpected
	case b.server != nil:
		return errServerMade
	}
	server, err := create(slices.Clone(b.opts))
	switch {
	case err != nil:
		return err
	case server == nil:
		return errNilServer
	}
	b.server = server
	return b.services.take(server, nil)
}

var (
	errNotExpected = errors.New("this server does not expect services that register themselves")
	errServerMade  = errors.New("protocol.FromNewServer makes a server of its own: nothing else can be served by it")
	errNilServer   = errors.New("the function of protocol.FromNewServer returned neither a server nor an error")
)

// register notes which services the function adds.
func (r *serverServices) register(server *grpc.Server, register func(*grpc.Server) error) error {
	before := server.GetServiceInfo()
	if err := register(server); err != nil {
		return err
	}
	return r.take(server, before)
}

// take notes the services of the server that it did not have before.
func (r *serverServices) take(server *grpc.Server, before map[string]grpc.ServiceInfo) error {
	for name := range server.GetServiceInfo() {
		if _, ok := before[name]; ok {
			continue
		}
		if r.isControl("/" + name + "/") {
			return fmt.Errorf("the function of protocol.FromServer or FromNewServer registers service %s, which the framework itself serves: leave it out", name)
		}
		r.names[name] = true
	}
	return nil
}

// has reports whether the method is one of a service that registered itself.
func (r *serverServices) has(fullMethod string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	return r.names[service]
}

// serveUnary is a [grpc.UnaryServerInterceptor]. The message of the call was read
// before.
func (r *serverServices) serveUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if !r.has(info.FullMethod) {
		return next(ctx, req)
	}
	if err := r.bounds.enter(ctx); err != nil {
		return nil, err
	}
	if isCompressed(ctx) {
		room := &messageRoom{bounds: r.bounds}
		defer room.end()
		if err := room.receive(req, func(any) error { return nil }); err != nil {
			return nil, err
		}
	}
	return r.guard.ServeUnary(ctx, req, info, next)
}

// serveStream is a [grpc.StreamServerInterceptor].
func (r *serverServices) serveStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !r.has(info.FullMethod) {
		return next(srv, ss)
	}
	return r.bounds.boundStream(func(srv any, ss grpc.ServerStream) error {
		return r.guard.ServeStream(srv, ss, info, next)
	})(srv, ss)
}
