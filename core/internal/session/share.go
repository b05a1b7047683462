package session

import (
	"context"
	"errors"
	"net"
	"sync"
)

// share is what the streams of a native or a yamux session share at the host's
// end: the connection. It ends when the stream for calls is closed and no named
// stream is open: a plugin that is about to exit may wait for that, and what it
// wrote to a named stream can be read until then.
type share struct {
	close func() error

	mu     sync.Mutex // guards the fields below
	named  int        // streams that are open
	ending bool
	idle   chan struct{} // closed when ending and named is 0
}

func newShare(closeConn func() error) *share {
	return &share{close: sync.OnceValue(closeConn), idle: make(chan struct{})}
}

// end ends the connection as soon as no named stream is open.
func (s *share) end() error {
	s.mu.Lock()
	first := !s.ending
	s.ending = true
	last := s.named == 0
	if first && last {
		close(s.idle)
	}
	s.mu.Unlock()
	if last {
		return s.close()
	}
	return nil
}

// name returns a stream that has met, which keeps the connection open.
func (s *share) name(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named++
	return &namedStream{Conn: conn, share: s}
}

func (s *share) released() error {
	s.mu.Lock()
	s.named--
	last := s.ending && s.named == 0
	if last && !isDone(s.idle) {
		close(s.idle)
	}
	s.mu.Unlock()
	if last {
		return s.close()
	}
	return nil
}

func isDone(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
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
	s.once.Do(func() { s.err = errors.Join(s.Conn.Close(), s.share.released()) })
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

// Finish ends the session when its named streams are closed, or ctx ends. Call
// it when the plugin has ended in good order: what it wrote last is still read.
func (s *Session) Finish(ctx context.Context) error {
	if s.share == nil {
		return nil
	}
	if err := s.share.end(); err != nil {
		return err
	}
	select {
	case <-s.share.idle:
	case <-ctx.Done():
	}
	return s.Close()
}
