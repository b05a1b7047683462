package calls

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/session"
)

// Wire carries calls on the streams of a session. Package rpc has the table of wires.
type Wire interface {
	// Name is the wire's name in offers and answers.
	Name() string
	// ALPN is the wire's name in TLS handshakes (RFC 7301).
	ALPN() string
	// Connect opens the streams that the wire wants of one session, and returns the
	// host's ends of it. server is what the host serves; nil if it serves nothing, and
	// then so is the returned Server. The context bounds only Connect.
	Connect(ctx context.Context, open Opener, client ClientConfig, server *ServerConfig) (Client, Server, error)
	// NewAcceptor returns the plugin's end of all its sessions. client is how the plugin
	// calls its hosts.
	NewAcceptor(server ServerConfig, client ClientConfig) (Acceptor, error)
}

// Opener opens a stream of a session. The context bounds only that. The caller closes
// the stream.
type Opener func(ctx context.Context, purpose session.Purpose) (*session.Stream, error)

// Client is the end that makes calls. Its methods are safe for concurrent use.
type Client interface {
	grpc.ClientConnInterface
	// Plain returns the connection for calls whose errors are not explained. The
	// framework's own streams use it: their errors need no explanation, and must not wait
	// for one.
	Plain() grpc.ClientConnInterface
	// Reach waits until calls can be made. An error says why they cannot.
	Reach(ctx context.Context) error
	// Lost is closed when no call can be made any more. The owner of the Client then
	// finds out why, and calls Fail.
	Lost() <-chan struct{}
	// Broken reports whether the connection is lost. It is true before calls end with it.
	Broken() bool
	// Fail ends every call with codes.Unavailable and reason: those in flight, those to
	// come, and those that wait for readiness. Only the first reason counts.
	Fail(reason error)
	// Close ends the Client at once, and waits for its goroutines.
	Close()
}

// Server is the end that serves calls. Its methods are safe for concurrent use.
type Server interface {
	// Drain refuses new calls of the application, and waits until those in flight have
	// ended. If ctx ends first, the error says how many were left. The framework's own
	// services go on until Stop.
	Drain(ctx context.Context) error
	// Stop ends the Server. Until ctx ends, it sends answers that handlers have given, and
	// waits until the other side has read them: the other side ends its Client when this
	// process ends. Then it cuts off what is left. It ends the framework's own streams at once. An error says
	// what was cut off, and how many handlers ignore their context for longer than patience.
	// Never call Stop from a handler.
	Stop(ctx context.Context, patience time.Duration) error
	// Close ends the Server at once, with everything in flight, and waits for its
	// goroutines.
	Close()
}

// Acceptor is a Server whose streams other processes open.
type Acceptor interface {
	Server
	// Accept takes a stream that a host has opened, and owns it. If the plugin can call
	// its host by the stream, Accept returns the Client for that, which the caller closes.
	// The context bounds only Accept.
	Accept(ctx context.Context, stream *session.Stream) (Client, error)
}
