// Package session connects a host and a plugin by streams. Each stream has a purpose, and
// both of its sides are authenticated.
//
// The host opens every stream ([Session.Open]), and the plugin accepts it ([Listener]). There
// are three kinds of session. In a direct session each stream is a connection of its own: the
// transport's own net.Conn, unwrapped, without a goroutine of this package that reads it. In
// a native session the transport makes the streams of its one connection. In a yamux session
// the transport has one connection without streams, and yamux makes them.
package session

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/transport"
)

// NoAddress is the address in the answer of a plugin whose connection was made before the
// plugin was started.
const NoAddress = "-"

// Kinds returns the kinds of session that this package can make with a transport, the best
// first.
func Kinds(t transport.Transport) []string {
	switch t.(type) {
	case transport.Native:
		return []string{handshake.SessionNative}
	case transport.Preparer:
		return []string{handshake.SessionYamux}
	default:
		return []string{handshake.SessionDirect}
	}
}

// Config says what session a host has with a plugin.
type Config struct {
	// Kind is one of the handshake.Session values.
	Kind string
	// Transport and Dial say how to reach the plugin.
	Transport transport.Transport
	Dial      transport.DialConfig
	// Conn is the connection that a [transport.Preparer] has made, nil for any other
	// transport. The session owns it.
	Conn net.Conn
	// Credentials authenticate the two sides.
	Credentials *secure.Credentials
	// Foreign is set for a plugin that expects no preambles. Its session is direct.
	Foreign bool
	// Identity of the session, of at most 64 bytes. It is empty for a plugin that reads only
	// version 1 of the preamble.
	Identity string
}

// Session is a host's end. Its methods are safe for concurrent use.
type Session struct {
	dial     func(ctx context.Context) (net.Conn, error) // opens a stream, which has carried no byte yet
	creds    *secure.Credentials                         // authenticate a stream
	foreign  bool
	identity string // in every preamble
	share    *share // nil for a session whose streams share nothing
}

// New returns a session with a foreign plugin. open opens its streams, which creds
// authenticate. closeAll ends them. The session calls closeAll once.
func New(open func(ctx context.Context) (net.Conn, error), creds *secure.Credentials, closeAll func() error) *Session {
	return &Session{dial: open, creds: creds, foreign: true, share: newShare(closeAll)}
}

// Dial opens a session. The context bounds only the dialing. A direct session has no
// connection before its first stream.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := cfg.Transport.Dial(ctx, cfg.Dial)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		return conn, nil
	}
	s := &Session{dial: dial, creds: cfg.Credentials, foreign: cfg.Foreign, identity: cfg.Identity}
	switch cfg.Kind {
	case handshake.SessionDirect:
		return s, nil
	case handshake.SessionNative:
		return s.native(ctx, cfg)
	case handshake.SessionYamux:
		if cfg.Conn != nil {
			s.dial = func(context.Context) (net.Conn, error) { return cfg.Conn, nil }
		}
		return s.carried(ctx)
	default:
		return nil, fmt.Errorf("session %q is not known here", cfg.Kind)
	}
}

func (s *Session) native(ctx context.Context, cfg Config) (*Session, error) {
	t, ok := cfg.Transport.(transport.Native)
	if !ok {
		return nil, fmt.Errorf("transport %s has no streams of its own", cfg.Transport.Name())
	}
	cfg.Dial.TLS = s.creds.TLSConfig()
	conn, err := t.DialSession(ctx, cfg.Dial)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return &Session{dial: conn.OpenStream, creds: s.creds.ByTransport(), identity: s.identity, share: newShare(conn.Close)}, nil
}

// carried opens the one connection of a yamux session, like a stream of a direct session. It
// returns a session of the streams on that connection.
func (s *Session) carried(ctx context.Context) (*Session, error) {
	carrier, err := s.Open(ctx, Preamble{Purpose: Carrier})
	if err != nil {
		return nil, err
	}
	m, err := mux.Client(carrier.Conn, mux.HostPolicy)
	if err != nil {
		return nil, errors.Join(err, carrier.Close())
	}
	return &Session{dial: m.Open, creds: secure.Known(carrier.Info), identity: s.identity, share: newShare(m.Close)}, nil
}

// Open opens a stream, says what it is for, and authenticates both sides. The context bounds
// only that. The caller closes the stream.
//
// The streams may share a connection. It ends with the stream for calls, once the named
// streams are closed. A foreign plugin may end its stream for calls, and the host then opens
// another. The connection of a foreign plugin ends by Close.
func (s *Session) Open(ctx context.Context, p Preamble) (*Stream, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	p.Session = s.identity
	stream, info, err := s.introduce(ctx, conn, p)
	if err != nil {
		return nil, err
	}
	return &Stream{Conn: stream, Info: info, Purpose: p.Purpose, Session: p.Session}, nil
}

// introduce says what a stream is for, and authenticates both sides. It owns conn.
func (s *Session) introduce(ctx context.Context, conn net.Conn, p Preamble) (net.Conn, secure.Info, error) {
	stream, info, err := within(ctx, conn, func() (net.Conn, secure.Info, error) { return s.begin(ctx, conn, p) })
	if err != nil {
		return nil, secure.Info{}, err
	}
	if s.share != nil && p.Purpose == Calls && !s.foreign { // a foreign plugin may end that stream and accept another
		stream = &callsStream{stream, s.share}
	}
	return stream, info, nil
}

func (s *Session) begin(ctx context.Context, conn net.Conn, p Preamble) (net.Conn, secure.Info, error) {
	if !s.foreign {
		if _, err := p.WriteTo(conn); err != nil {
			return nil, secure.Info{}, fmt.Errorf("write preamble: %w", err)
		}
	}
	return introduce(ctx, conn, s.creds)
}

// Close ends the connection that the streams share, and so the streams. The streams of a
// direct session share nothing, and stay open.
func (s *Session) Close() error {
	if s.share == nil {
		return nil
	}
	return s.share.close()
}
