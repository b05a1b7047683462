package plugin

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/session"
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

// OpenStream opens a stream of bytes to the host, and returns when the host has
// accepted it under the same name (host.Plugin.AcceptStream). The context is one that
// [Logger] takes. It bounds the wait and nothing after it. Without a deadline the wait
// lasts until the plugin ends.
//
// The caller closes the stream. On every transport of this project a stream has the
// method CloseWrite() error, which ends one direction. Streams end with the process. A
// name has at most 255 bytes. On a unix socket, on TCP and on an inherited connection,
// a reader gets io.EOF also when the other process has died. If half of the data must
// not pass for the whole, send its length with it. A writer whose reader has closed the
// stream gets an error, except on an inherited connection, where what it writes is
// discarded.
func OpenStream(ctx context.Context, name string) (net.Conn, error) {
	return named(ctx, name, "open", (*session.Listener).OpenNamed)
}

// AcceptStream returns the next stream that the host opens under that name
// (host.Plugin.OpenStream). All else is as for [OpenStream].
func AcceptStream(ctx context.Context, name string) (net.Conn, error) {
	return named(ctx, name, "accept", (*session.Listener).AcceptNamed)
}

func named(ctx context.Context, name, verb string, meet func(l *session.Listener, ctx context.Context, session, name string) (net.Conn, error)) (net.Conn, error) {
	rt := fromContext(ctx)
	if rt == nil {
		return nil, fmt.Errorf("%s stream %q: the context is not one of a handler of this plugin, nor derived from one", verb, name)
	}
	host := rpc.HostOf(ctx)
	if host == nil {
		host = rt.calls.AnyHost()
	}
	conn, err := meet(rt.session, ctx, host.Session(), name)
	if err != nil {
		return nil, fmt.Errorf("%s stream %q: %w", verb, name, err)
	}
	return conn, nil
}

// brokenConn fails every call with the same error.
type brokenConn struct{ err error }

// Invoke implements [grpc.ClientConnInterface].
func (c brokenConn) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return c.err }

// NewStream implements [grpc.ClientConnInterface].
func (c brokenConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, c.err
}
