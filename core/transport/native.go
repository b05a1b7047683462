package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

// Multiplexer is implemented by both ends of a stream of a [Session], if both sides can open
// further streams on the connection. A wire then gives each call a stream of its own. The
// methods are safe for concurrent use, and work until the connection ends.
type Multiplexer interface {
	// OpenStream opens a stream, which the other end's AcceptStream returns when its first
	// byte has come. OpenStream never blocks: the error is [ErrStreamLimit] if too many
	// streams are open. The caller closes the stream.
	OpenStream() (CancelableStream, error)

	// AcceptStream waits for a stream that the other end has opened, until ctx ends. The
	// caller closes the stream. A stream waits for AcceptStream for some seconds.
	AcceptStream(ctx context.Context) (CancelableStream, error)
}

// ErrStreamLimit is why no stream can be opened until another one has ended.
var ErrStreamLimit = errors.New("too many streams of the connection are open")

// ErrNotAccepted is the error of Read and Write for a stream that the other end's AcceptStream
// will never return. Nobody has seen what was written.
var ErrNotAccepted = errors.New("the other side has not accepted the stream")

// CancelableStream is a stream that either end can end at once.
type CancelableStream interface {
	net.Conn

	// Cancel ends both directions. What was written and has not arrived may be lost. At
	// the other end, Read and Write return a [*CanceledError] with the code. Codes below 16
	// belong to the transport.
	Cancel(code uint32)

	// Context ends when nothing can be written any more: after Close or Cancel at either
	// end, or with the connection.
	Context() context.Context
}

// CanceledError is the error of Read and Write after the other end has canceled the stream.
type CanceledError struct{ Code uint32 }

// Error returns a text with the code.
func (e *CanceledError) Error() string {
	return fmt.Sprintf("the other side has ended the stream with code %d", e.Code)
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
