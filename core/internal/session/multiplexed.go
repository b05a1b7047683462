package session

import (
	"context"
	"errors"
	"net"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
)

var (
	errNotMultiplexed = errors.New("there is no multiplexed connection to the other side")
	errUnannounced    = errors.New("the plugin has not announced the stream")
)

// Multiplexed reports whether the session is go-plugin's multiplexed mode.
func (s *Session) Multiplexed() bool { return s.expected != nil }

// Expect has the next stream that the plugin opens authenticated and given to
// deliver, which owns it. It reports false if too many are expected already.
func (s *Session) Expect(deliver func(*Stream)) bool { return s.expected.add(deliver) }

// OpenStream opens a stream that the plugin expects. From then on it is not the
// next one's turn any more, whatever becomes of this one.
func (s *Session) OpenStream(ctx context.Context) (net.Conn, error) { return s.dial(ctx) }

// Authenticate authenticates both sides of a stream of OpenStream, which it owns.
func (s *Session) Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error) {
	return s.introduce(ctx, stream, Preamble{}) // which has none
}

// multiplex opens the one connection, which says nothing of its own, and returns
// a session of the streams on it. Each is authenticated by itself, unless the
// kernel vouches for the connection.
func (s *Session) multiplex(ctx context.Context) (*Session, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	creds := s.creds
	if creds.Security() == handshake.SecurityPeerCred {
		_, info, err := s.begin(ctx, conn, Preamble{}) // of which nothing is sent
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		creds = secure.Known(info)
	}
	m, err := mux.Client(conn, new(peerPolicy).judge)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	on := &Session{dial: m.Open, creds: creds, foreign: true, share: newShare(m.Close), expected: new(expected)}
	m.Go(func() { on.acceptExpected(m) })
	return on, nil
}

// acceptExpected admits the streams that the plugin opens, until m ends. Those that
// nobody has announced are refused: go-plugin opens none, but for one that came too
// late.
func (s *Session) acceptExpected(m *mux.Session) {
	turns := make(chan struct{}, maxPending)
	for {
		conn, err := m.Accept()
		if err != nil {
			return // it ended with the connection
		}
		deliver := s.expected.next()
		turns <- struct{}{} // waits for admitTimeout, and for the plugin to close what was refused
		started := m.Go(func() {
			stream, err := s.admit(conn, deliver)
			<-turns
			if err == nil {
				deliver(stream)
			}
		})
		if !started {
			return // it ends
		}
	}
}

// admit authenticates a stream of the plugin's that is for deliver, if that is not
// nil. With an error it is refused, which whoever opened it sees.
func (s *Session) admit(conn net.Conn, deliver func(*Stream)) (stream *Stream, err error) {
	if err = errUnannounced; deliver != nil {
		_, stream, err = authenticate(conn, admission{creds: s.creds})
	}
	if err != nil {
		mux.Refuse(conn)
	}
	return stream, err
}

// Multiplexed reports whether the host uses go-plugin's multiplexed mode.
func (l *Listener) Multiplexed() bool { return l.expected != nil }

// Expect has the next stream that the host opens authenticated and given to
// deliver, which owns it. It reports false if too many are expected already.
func (l *Listener) Expect(deliver func(*Stream)) bool { return l.expected.add(deliver) }

// OpenStream opens a stream that the host expects.
func (l *Listener) OpenStream(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	m := l.current
	l.mu.Unlock()
	if m == nil {
		return nil, errNotMultiplexed
	}
	return m.Open(ctx)
}

// Authenticate authenticates both sides of a stream of OpenStream, which it owns.
func (l *Listener) Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error) {
	s := &Session{creds: l.cfg.Credentials, foreign: true}
	return s.Authenticate(ctx, stream)
}
