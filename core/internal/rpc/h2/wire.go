package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// ALPN is HTTP/2's name in TLS handshakes (RFC 9113, section 3.2).
const ALPN = "h2"

// Wire is HTTP/2. It implements [calls.Wire].
type Wire struct{}

var _ calls.Wire = Wire{}

// Name implements [calls.Wire].
func (Wire) Name() string { return handshake.WireH2 }

// HasServer marks a wire that serves with a *grpc.Server.
func (Wire) HasServer() {}

// ALPN implements [calls.Wire].
func (Wire) ALPN() string { return ALPN }

// Connect implements [calls.Wire].
func (Wire) Connect(ctx context.Context, open calls.Opener, client calls.ClientConfig, server *calls.ServerConfig) (calls.Client, calls.Server, error) {
	stream, err := open(ctx, session.Calls)
	if err != nil {
		return nil, nil, err
	}
	link := Link{Stream: stream}
	if client.Renewal != nil {
		link.Gone, link.Ending = client.Renewal.Gone(), client.Renewal.Ending
		link.Redial = func(ctx context.Context) (net.Conn, error) {
			s, err := open(ctx, session.Calls)
			if err != nil {
				return nil, err
			}
			return s.Conn, nil
		}
	}
	if server == nil {
		c, err := connectStream(ctx, client, link, nil)
		if err != nil {
			return nil, nil, err
		}
		return c, nil, nil
	}
	// The plugin may take its time to speak: it calls its host when a handler needs that.
	served, err := newServer(*server, maxConnectTimeout)
	if err != nil {
		return nil, nil, errors.Join(err, stream.Close())
	}
	a := newAcceptor(served, client)
	callbacks, err := open(ctx, session.Callbacks)
	if err != nil {
		a.Close()
		return nil, nil, errors.Join(err, stream.Close())
	}
	a.queue.put(callbacks)
	c, err := connectStream(ctx, client, link, a.Server)
	if err != nil {
		a.Close()
		return nil, nil, err
	}
	return c, a, nil
}

func connectStream(ctx context.Context, cfg calls.ClientConfig, link Link, callers *Server) (*Client, error) {
	c, err := connect(ctx, cfg, link, callers)
	if err != nil {
		return nil, fmt.Errorf("connect, authenticated by %s: %w", link.Stream.Info.Security, err)
	}
	return c, nil
}

// NewAcceptor implements [calls.Wire].
func (Wire) NewAcceptor(server calls.ServerConfig, client calls.ClientConfig) (calls.Acceptor, error) {
	s, err := NewServer(server)
	if err != nil {
		return nil, err
	}
	return newAcceptor(s, client), nil
}

// acceptor is a Server with its own listener, to which streams are given. It implements
// [calls.Acceptor].
type acceptor struct {
	*Server
	client calls.ClientConfig
	queue  *queue
	served sync.WaitGroup
}

func newAcceptor(s *Server, client calls.ClientConfig) *acceptor {
	a := &acceptor{Server: s, client: client, queue: newQueue()}
	a.served.Go(func() {
		_ = s.Serve(a.queue) // the queue ends only by itself
	})
	return a
}

// Accept implements [calls.Acceptor].
func (a *acceptor) Accept(ctx context.Context, stream *session.Stream) (calls.Client, error) {
	if stream.Purpose != session.Callbacks {
		a.queue.put(stream)
		return nil, nil
	}
	c, err := Connect(ctx, a.client, Link{Stream: stream})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close implements [calls.Server].
func (a *acceptor) Close() {
	a.Server.Close()
	_ = a.queue.Close() // always nil
	a.served.Wait()
}
