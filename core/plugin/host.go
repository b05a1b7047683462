package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

// Host returns the connection on which a plugin calls the services that its
// host was launched with (host.WithServices): generated clients are made from
// it. The context is one that [Logger] takes, also after
// [context.WithoutCancel]; a call on the connection may outlive the handler that
// made it, and ends with the plugin.
//
// It never returns nil and never waits. Where there is nothing to call, each
// call fails: with codes.Unimplemented under a host that serves nothing, with
// codes.FailedPrecondition for any other context, with codes.Unavailable when
// the host has gone.
func Host(ctx context.Context) grpc.ClientConnInterface {
	if rt := fromContext(ctx); rt != nil {
		return rt.host
	}
	return brokenConn{status.Error(codes.FailedPrecondition, "plugin.Host: the context is not one of a handler of this plugin, nor derived from one")}
}

// OpenStream opens a stream of bytes to the host, and returns when the host has
// accepted it under the same name (host.Plugin.AcceptStream). The context is one
// that [Logger] takes; it bounds the wait and nothing after it; without a
// deadline the wait lasts until the plugin ends.
//
// The caller closes the stream. CloseWrite() error, which it has on every
// transport of this project, ends it in one direction. Streams end with the
// process; a name is at most 255 bytes. On a unix socket, on TCP and on an
// inherited connection, io.EOF also comes when the other process has died: where
// half must not pass for the whole, let the data say how much it is. A writer
// whose reader has closed the stream gets an error, except on an inherited
// connection, where what it writes is discarded.
func OpenStream(ctx context.Context, name string) (net.Conn, error) {
	return named(ctx, name, "open", (*session.Listener).OpenNamed)
}

// AcceptStream returns the next stream that the host opens under that name
// (host.Plugin.OpenStream). All else is as for [OpenStream].
func AcceptStream(ctx context.Context, name string) (net.Conn, error) {
	return named(ctx, name, "accept", (*session.Listener).AcceptNamed)
}

func named(ctx context.Context, name, verb string, meet func(*session.Listener, context.Context, string) (net.Conn, error)) (net.Conn, error) {
	rt := fromContext(ctx)
	if rt == nil {
		return nil, fmt.Errorf("%s stream %q: the context is not one of a handler of this plugin, nor derived from one", verb, name)
	}
	conn, err := meet(rt.session, ctx, name)
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

// callbacksTimeout is how long a call waits for the stream that the host has
// announced. The host opens it right after that for its own calls, so only the
// very first call can come before it.
const callbacksTimeout = 10 * time.Second

// lateConn is a connection that may still have to come: it returns what a call goes
// to.
type lateConn func(ctx context.Context) (grpc.ClientConnInterface, error)

// Invoke implements [grpc.ClientConnInterface].
func (wait lateConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	conn, err := wait(ctx)
	if err != nil {
		return err
	}
	return conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (wait lateConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := wait(ctx)
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, desc, method, opts...)
}

// hostConn is the connection to the host, which comes a moment after the first
// call of the host can.
type hostConn struct {
	lateConn
	cfg   *config
	ready chan struct{} // closed when conn is set

	ctx context.Context //nolint:containedctx // the connection's own life, not a caller's
	end context.CancelFunc

	mu    sync.Mutex // guards setting what follows; conn is read only after ready
	conn  grpc.ClientConnInterface
	peer  *rpc.Peer // nil if conn is not one
	begun bool      // the host has opened a stream
}

func newHostConn(cfg *config, offer *negotiation.Offer) *hostConn {
	h := &hostConn{cfg: cfg, ready: make(chan struct{})}
	h.lateConn = h.wait
	h.ctx, h.end = context.WithCancel(context.Background())
	switch {
	case !offer.Plugwire:
		h.set(brokenConn{status.Error(codes.Unimplemented, "the host is of another framework: it serves nothing that plugin.Host reaches")}, nil)
	case !offer.Callbacks:
		h.set(brokenConn{status.Error(codes.Unimplemented, "the host serves nothing: it was launched without host.WithServices")}, nil)
	}
	return h
}

// set sets what calls go to, once.
func (h *hostConn) set(conn grpc.ClientConnInterface, peer *rpc.Peer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		return false
	}
	h.conn, h.peer = conn, peer
	close(h.ready)
	return true
}

var (
	errSecondStream = errors.New("a stream for callbacks was not announced, or is there already")
	errHostLost     = fmt.Errorf("the connection to the host was lost: %w", net.ErrClosed)
)

// serve makes calls on the stream that the host has opened for them, until the
// stream or the plugin ends. With an error it is still the caller's.
func (h *hostConn) serve(s *session.Stream) error {
	if !h.begin() {
		return errSecondStream
	}
	peer, err := newHostPeer(h.cfg, s)
	if err != nil {
		return err
	}
	if err := peer.Connect(h.ctx); err != nil {
		h.set(brokenConn{status.Errorf(codes.Unavailable, "the stream for calls to the host: %v", err)}, nil)
		peer.Close()
		return err
	}
	if !h.set(peer, peer) {
		peer.Close()
		return nil
	}
	select {
	case <-peer.Lost():
		peer.Fail(errHostLost)
	case <-h.ctx.Done():
	}
	return nil
}

// begin reports whether a stream may become the connection: the first that the host
// opens. Each that is not yet connected holds a descriptor and goroutines for as long as
// the host says nothing on it, so there is one.
func (h *hostConn) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun || h.conn != nil {
		return false
	}
	h.begun = true
	return true
}

// newHostPeer returns the plugin's end of a stream for calls to its host.
func newHostPeer(cfg *config, s *session.Stream) (*rpc.Peer, error) {
	return rpc.New(rpc.Config{
		Side:              "plugin",
		Other:             "host",
		MaxMessageSize:    cfg.maxMessageSize,
		Conn:              s.Conn,
		ClientCredentials: secure.Known(s.Info),
		UnaryClient:       cfg.unaryClient,
		StreamClient:      cfg.streamClient,
		IsControl:         control.IsControl,
	})
}

// close ends the calls to the host, those in flight and those to come.
func (h *hostConn) close() {
	h.end()
	if h.set(brokenConn{status.Error(codes.Unavailable, "this plugin is shutting down")}, nil) {
		return
	}
	if h.peer != nil {
		h.peer.Close()
	}
}

// wait returns what a call goes to.
func (h *hostConn) wait(ctx context.Context) (grpc.ClientConnInterface, error) {
	select {
	case <-h.ready:
		return h.conn, nil
	default:
	}
	timer := time.NewTimer(callbacksTimeout)
	defer timer.Stop()
	select {
	case <-h.ready:
		return h.conn, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-timer.C:
		return nil, status.Errorf(codes.Unavailable, "the host announced services but has not opened the stream for calls to them within %v", callbacksTimeout)
	}
}
