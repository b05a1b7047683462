package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/session"
)

// NamedStream describes a stream to a [NamedStreamInterceptor].
type NamedStream struct {
	Name     string // the name of the stream
	Accepted bool   // this side accepts the stream, and the host opens it
}

// NamedStreamInterceptor is called for [OpenStream] and [AcceptStream]. meet
// returns the stream when both sides are there; its context bounds only that. The interceptor
// may return a stream of its own around the one of meet, which keeps CloseWrite() error.
//
// Streams of bytes have no metadata. So the context has what this side knows: that of the
// call in which the stream is opened or accepted, if there is one.
type NamedStreamInterceptor func(ctx context.Context, s NamedStream, meet func(ctx context.Context) (net.Conn, error)) (net.Conn, error)

// WithNamedStreams adds an interceptor around named streams. Interceptors that are added
// first are outermost.
func WithNamedStreams(intercept NamedStreamInterceptor) Option {
	return optionFunc(func(cfg *config) error {
		if intercept == nil {
			return errors.New("plugin.WithNamedStreams: the interceptor is nil")
		}
		cfg.namedStreams = append(cfg.namedStreams, intercept)
		return nil
	})
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
	return named(ctx, NamedStream{Name: name}, "open", (*session.Listener).OpenNamed)
}

// AcceptStream returns the next stream that the host opens under that name
// (host.Plugin.OpenStream). All else is as for [OpenStream].
func AcceptStream(ctx context.Context, name string) (net.Conn, error) {
	return named(ctx, NamedStream{Name: name, Accepted: true}, "accept", (*session.Listener).AcceptNamed)
}

func named(ctx context.Context, s NamedStream, verb string, meet func(l *session.Listener, ctx context.Context, session, name string) (net.Conn, error)) (net.Conn, error) {
	rt := fromContext(ctx)
	if rt == nil {
		return nil, fmt.Errorf("%s stream %q: the context is not one of a handler of this plugin, nor derived from one", verb, s.Name)
	}
	host := rpc.HostOf(ctx)
	if host == nil {
		host = rt.calls.AnyHost()
	}
	next := func(ctx context.Context) (net.Conn, error) {
		conn, err := meet(rt.session, ctx, host.Session(), s.Name)
		if err != nil {
			return nil, fmt.Errorf("%s stream %q: %w", verb, s.Name, err)
		}
		return conn, nil
	}
	for _, intercept := range slices.Backward(rt.namedStreams) {
		inner := next
		next = func(ctx context.Context) (net.Conn, error) { return intercept(ctx, s, inner) }
	}
	return next(ctx)
}
