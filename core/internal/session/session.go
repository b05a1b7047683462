// Package session is what a host and a plugin have between them as the rest of
// core sees it: streams, each with a purpose, each of which has been
// authenticated.
//
// The host opens every stream ([Session.Open]) and the plugin accepts it
// ([Listener]). There are three kinds of session. In a direct one each stream is
// a connection of its own, and is the transport's own net.Conn, unwrapped, with
// no goroutine of this package reading it. In a native one the streams are those
// of the transport's one connection. Where a transport has a single connection
// without streams, yamux makes them.
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

// NoAddress stands in the answer of a plugin whose connection was made before
// it was started.
const NoAddress = "-"

// Kinds returns the kinds of session that this package can make of a transport,
// the best first.
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
	// Transport and Dial are how the plugin is reached.
	Transport transport.Transport
	Dial      transport.DialConfig
	// Conn is the connection that a [transport.Preparer] has made; nil for any
	// other transport. The session owns it.
	Conn net.Conn
	// Credentials authenticate the two sides.
	Credentials *secure.Credentials
	// Foreign is set for a plugin that knows nothing of preambles.
	Foreign bool
	// Identity of the session, of at most 64 bytes. It is empty for a plugin that reads only
	// version 1 of the preamble.
	Identity string
}

// Session is a host's end. Its methods are safe for concurrent use.
type Session struct {
	dial     func(ctx context.Context) (net.Conn, error) // opens a stream that says nothing yet
	creds    *secure.Credentials                         // authenticate a stream
	foreign  bool
	identity string // in every preamble
	share    *share // nil for a session whose streams share nothing
}

// New returns a session with a foreign plugin, whose streams open returns and creds
// authenticate. closeAll ends the streams. It is called once.
func New(open func(ctx context.Context) (net.Conn, error), creds *secure.Credentials, closeAll func() error) *Session {
	return &Session{dial: open, creds: creds, foreign: true, share: newShare(closeAll)}
}

// Dial opens a session. The context bounds only that. A direct one has no
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

// carried opens the one connection of a yamux session, by the means of a direct
// one, and returns a session of the streams on it.
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

// Open opens a stream, says what it is for, and authenticates both sides. The
// context bounds only that. The caller closes the stream; what the streams share
// ends with the one for calls, once the named ones are closed. A foreign plugin may
// end its stream for calls and be opened another: what these share ends by Close.
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
	if s.share != nil && p.Purpose == Calls && !s.foreign { // a foreign plugin may end that stream and take another
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

// Close ends what the streams share, if anything, and with it the streams. Those
// of a direct session stay open.
func (s *Session) Close() error {
	if s.share == nil {
		return nil
	}
	return s.share.close()
}
