// Package pw is the wire pw/1: gRPC's calls on one stream of a session, in both directions,
// without HTTP/2. docs/wire.md describes it.
package pw

import (
	"context"
	"errors"
	"net"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// Name is the wire's name in offers and answers, and in TLS handshakes.
const Name = "pw/1"

// Wire is pw/1. It implements [calls.Wire].
type Wire struct{}

var _ calls.Wire = Wire{}

// Name implements [calls.Wire].
func (Wire) Name() string { return Name }

// ALPN implements [calls.Wire].
func (Wire) ALPN() string { return Name }

// Connect implements [calls.Wire].
func (Wire) Connect(ctx context.Context, open calls.Opener, client calls.ClientConfig, cfg *calls.ServerConfig) (calls.Client, calls.Server, error) {
	stream, err := open(ctx, session.Calls)
	if err != nil {
		return nil, nil, err
	}
	if cfg == nil {
		c := newConn(stream, client, nil, 1)
		if err := c.awaitHello(ctx); err != nil {
			return nil, nil, err
		}
		return c, nil, nil
	}
	s, err := newServer(*cfg)
	if err != nil {
		return nil, nil, errors.Join(err, stream.Close())
	}
	c := newConn(stream, client, s, 1)
	s.add(c)
	if err := c.awaitHello(ctx); err != nil {
		return nil, nil, err
	}
	return c, s, nil
}

// awaitHello waits until the plugin has let the connection in. With TLS 1.3 only that shows
// that it accepts the host's certificate. After an error the connection is closed.
func (c *conn) awaitHello(ctx context.Context) error {
	var err error
	select {
	case <-c.hello:
		return nil
	case <-c.lost:
		c.mu.Lock()
		err = c.lostWith
		c.mu.Unlock()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.Close()
	return err
}

// NewAcceptor implements [calls.Wire].
func (Wire) NewAcceptor(cfg calls.ServerConfig, client calls.ClientConfig) (calls.Acceptor, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	return &acceptor{s, client}, nil
}

// intercept puts the interceptors around calls.
func (c *conn) intercept() {
	cfg := c.client
	c.unary, c.open = c.invoke, c.newStream
	if len(cfg.Unary)+len(cfg.Stream) == 0 {
		return
	}
	// Interceptors get a *grpc.ClientConn that tells which plugin it is, and makes no calls.
	target := cfg.Target
	if target == "" {
		target = cfg.Other
	}
	c.ident = identity(target)
	c.unary = calls.ChainUnaryClient(calls.ApplicationUnary(cfg.Unary, cfg.IsControl), c.invoke)
	c.open = calls.ChainStreamClient(calls.ApplicationStream(cfg.Stream, cfg.IsControl), c.newStream)
}

// Invoke implements [grpc.ClientConnInterface].
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if c.ident == nil {
		return c.invokeOn(ctx, method, args, reply, opts, false)
	}
	return c.unary(ctx, method, args, reply, c.ident, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.open(ctx, desc, c.ident, method, opts...)
}

// plainConn makes calls whose errors are not explained.
type plainConn struct{ c *conn }

// Plain implements [calls.Client].
func (c *conn) Plain() grpc.ClientConnInterface { return plainConn{c} }

// Invoke implements [grpc.ClientConnInterface].
func (p plainConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return p.c.invokeOn(ctx, method, args, reply, opts, true)
}

// NewStream implements [grpc.ClientConnInterface].
func (p plainConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return p.c.newStreamOn(ctx, desc, method, opts, true)
}

// Reach implements [calls.Client].
func (c *conn) Reach(context.Context) error {
	if c.Broken() {
		return net.ErrClosed
	}
	return nil
}

// Lost implements [calls.Client].
func (c *conn) Lost() <-chan struct{} { return c.lost }

// Broken implements [calls.Client].
func (c *conn) Broken() bool {
	select {
	case <-c.lost:
		return true
	case <-c.failed:
		return true
	default:
		return false
	}
}

// Fail implements [calls.Client].
func (c *conn) Fail(reason error) {
	c.failOnce.Do(func() {
		c.reason = reason
		close(c.failed)
		c.lose(errLost)
	})
}

// Close implements [calls.Client].
func (c *conn) Close() {
	c.Fail(net.ErrClosed)
	c.wait()
	if c.ident != nil {
		_ = c.ident.Close() // it was never used
	}
}

// identity returns a connection that is never used.
func identity(target string) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+url.PathEscape(target), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil
	}
	return conn
}
