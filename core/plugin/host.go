package plugin

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc"
)

// Host returns the connection on which a plugin calls the services of its host
// (host.WithServices). Generated clients are made from it. The context is one that [Logger]
// takes, also after [context.WithoutCancel]. A call on the connection may outlive the
// handler that made it, and ends with the plugin.
//
// In a handler, Host returns the host whose call it handles: a plugin that is debugged may
// have several. Elsewhere it returns the host that has started the plugin. If no host has,
// it is the host that came last.
//
// Host never returns nil and never blocks. If there is nothing to call, each call fails:
// with codes.Unimplemented under a host that serves nothing, with
// codes.FailedPrecondition for any other context, and with codes.Unavailable when the
// host has gone.
func Host(ctx context.Context) grpc.ClientConnInterface {
	if h := rpc.HostOf(ctx); h != nil {
		return h
	}
	if rt := fromContext(ctx); rt != nil {
		return rt.calls.AnyHost()
	}
	return brokenConn{status.Error(codes.FailedPrecondition, "plugin.Host: the context is not one of a handler of this plugin, nor derived from one")}
}

// brokenConn fails every call with the same error.
type brokenConn struct{ err error }

// Invoke implements [grpc.ClientConnInterface].
func (c brokenConn) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return c.err }

// NewStream implements [grpc.ClientConnInterface].
func (c brokenConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, c.err
}
