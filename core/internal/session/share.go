package session

import (
	"context"
	"errors"
	"net"
	"sync"
)

// share is the connection that the streams of a native or a yamux session share, at the
// host's end. It ends when the stream for calls is closed and no named stream is open. A
// plugin that is about to exit may wait for the end. Until then the host can read what the
// plugin wrote to named streams.
type share struct {
	close  func() error  // closes the connection, once
	closed chan struct{} // closed after the connection

	mu     sync.Mutex // guards the fields below
	named  int        // named streams that are open
	ending bool       // the stream for calls is closed
}

func newShare(closeConn func() error) *share {
	s := &share{closed: make(chan struct{})}
	s.close = sync.OnceValue(func() error {
		defer close(s.closed)
		return closeConn()
	})
	return s
}

// end ends the connection as soon as no named stream is open.
func (s *share) end() error { return s.change(func() { s.ending = true }) }

// name returns a named stream that has met. The connection stays open until the stream is
// closed.
func (s *share) name(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named++
	return &namedStream{Conn: conn, share: s}
}

// change changes the fields, and then ends the connection if nothing needs it.
func (s *share) change(f func()) error {
	s.mu.Lock()
	f()
	over := s.ending && s.named == 0
	s.mu.Unlock()
	if !over {
		return nil
	}
	return s.close()
}

// callsStream is the stream for calls.
type callsStream struct {
	net.Conn
	share *share
}

// Close implements [net.Conn].
func (s *callsStream) Close() error { return errors.Join(s.Conn.Close(), s.share.end()) }

// namedStream is what share.name returns.
type namedStream struct {
	net.Conn
	share *share
	once  sync.Once
	err   error
}

// Close implements [net.Conn].
func (s *namedStream) Close() error {
	s.once.Do(func() { s.err = errors.Join(s.Conn.Close(), s.share.change(func() { s.share.named-- })) })
	return s.err
}

// CloseWrite tells the other end that nothing more comes. Reading goes on.
func (s *namedStream) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Finish ends the session when its named streams are closed, or ctx ends. Call Finish when the
// plugin has ended in good order: the host may still read what the plugin wrote last.
func (s *Session) Finish(ctx context.Context) error {
	if s.share == nil {
		return nil
	}
	if err := s.share.end(); err != nil {
		return err
	}
	select {
	case <-s.share.closed:
	case <-ctx.Done():
	}
	return s.Close()
}
