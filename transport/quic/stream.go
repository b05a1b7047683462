package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// stream is a net.Conn over one stream of a connection.
type stream struct {
	*calls
	str *quic.Stream
	// onClose is called once, when its owner has closed the stream.
	onClose func()

	// writing is held by Write, because quic-go allows no Close during a Write.
	writing sync.Mutex

	mu          sync.Mutex // guards the fields below, and orders deadlines with their changes
	closed      bool
	writeClosed bool
}

func newStream(str *quic.Stream, calls *calls, onClose func()) *stream {
	return &stream{calls: calls, str: str, onClose: onClose}
}

// Read implements [net.Conn].
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.str.Read(p)
	if n > 0 || err == nil {
		return n, nil // the next Read returns the error again
	}
	if closed, _ := s.state(); closed {
		err = net.ErrClosed
	}
	if errors.Is(err, io.EOF) {
		return 0, io.EOF
	}
	return 0, s.opError("read", err)
}

// Write implements [net.Conn]. It returns when every packet except the last has
// been sent.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	n, err := s.str.Write(p)
	s.writing.Unlock()
	if err == nil {
		return n, nil
	}
	if _, closed := s.state(); closed {
		err = net.ErrClosed
	}
	return n, s.opError("write", err)
}

// Cancel implements [transport.CancelableStream].
func (s *stream) Cancel(code uint32) {
	s.str.CancelRead(quic.StreamErrorCode(code))
	s.str.CancelWrite(quic.StreamErrorCode(code))
}

// Context implements [transport.CancelableStream].
func (s *stream) Context() context.Context { return s.str.Context() }

// Close implements [net.Conn]. The peer reads what was written and then io.EOF;
// its writes fail.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.opError("close", net.ErrClosed)
	}
	s.closed = true
	ended := s.endWrite()
	s.mu.Unlock()

	s.str.CancelRead(codeClosed)
	if !ended {
		s.sendEnd()
	}
	s.onClose()
	return nil
}

// CloseWrite ends the direction to the peer, which reads what was written and
// then io.EOF. Reading still works.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.opError("close", net.ErrClosed)
	}
	ended := s.endWrite()
	s.mu.Unlock()
	if !ended {
		s.sendEnd()
	}
	return nil
}

// endWrite ends a Write that is under way and those that follow. It reports
// whether an earlier call had done so. Callers hold mu.
func (s *stream) endWrite() bool {
	ended := s.writeClosed
	s.writeClosed = true
	if !ended {
		_ = s.str.SetWriteDeadline(time.Now()) // never fails, by its contract
	}
	return ended
}

// sendEnd tells the peer that the stream ends here.
func (s *stream) sendEnd() {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.str.Close() // fails only if the peer has stopped reading: it need not be told
}

func (s *stream) state() (closed, writeClosed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed, s.writeClosed
}

// LocalAddr implements [net.Conn].
func (s *stream) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// ConnectionState implements [transport.SecureConn]: it returns the connection's
// state.
func (s *stream) ConnectionState() tls.ConnectionState { return s.conn.ConnectionState().TLS }

// SetDeadline implements [net.Conn].
func (s *stream) SetDeadline(t time.Time) error {
	return s.setDeadlines(t, true, true)
}

// SetReadDeadline implements [net.Conn].
func (s *stream) SetReadDeadline(t time.Time) error {
	return s.setDeadlines(t, true, false)
}

// SetWriteDeadline implements [net.Conn].
func (s *stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadlines(t, false, true)
}

func (s *stream) setDeadlines(t time.Time, read, write bool) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.opError("set", net.ErrClosed)
	}
	if read {
		err = s.str.SetReadDeadline(t)
	}
	if write && !s.writeClosed { // on a closed stream, the past deadline must stay: it ends Write
		err = errors.Join(err, s.str.SetWriteDeadline(t))
	}
	return err
}

func (s *stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: Name, Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: streamError(err)}
}
