package transport

import (
	"context"
	"crypto/tls"
	"net"
)

// Native is implemented by a transport whose one connection carries many
// streams by itself and does its own TLS, as QUIC does. Nothing is multiplexed
// or encrypted above it.
//
// Its listener's Accept returns the streams that hosts open, of all
// connections; Close of the listener leaves them open, as for any listener.
// Dial opens a connection for one stream, and Close of that stream ends the
// connection. Each stream keeps the contract of a connection in [Transport],
// and a stream that is not read never blocks another stream of the same
// connection. Both ends of a stream implement [SecureConn].
type Native interface {
	Transport

	// DialSession opens one connection to a plugin's listener and authenticates
	// both sides with cfg.TLS. The context bounds only this call.
	DialSession(ctx context.Context, cfg DialConfig) (Session, error)
}

// Session is the host's end of a [Native] transport's connection. Its methods
// are safe for concurrent use.
type Session interface {
	// OpenStream opens a stream. The listener's Accept returns the stream
	// without waiting for its first byte. The context bounds only this call.
	// The caller closes the stream.
	OpenStream(ctx context.Context) (net.Conn, error)

	// Close ends the connection and every stream on it at once, without waiting
	// for the delivery of written bytes. A second Close is harmless.
	Close() error
}

// Lingerer is implemented by the listener of a transport that, like QUIC,
// delivers written bytes from this process and not from the kernel. Bytes that
// are not delivered when the process exits are lost.
type Lingerer interface {
	// Linger waits until hosts have ended their sessions, or ctx ends. It is
	// called after Close of the listener and of all streams, just before the
	// process exits.
	Linger(ctx context.Context)
}

// SecureConn is implemented by a connection that the transport itself has
// encrypted: by a *tls.Conn and by the streams of a [Native] transport.
type SecureConn interface {
	ConnectionState() tls.ConnectionState
}
