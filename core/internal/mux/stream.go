package mux

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// stream is a stream that keeps the contract of [net.Conn]. A stream of yamux does not:
// its Close only ends writing, its errors are yamux's own, and it returns buffered bytes
// also after a deadline.
//
// One defect stays. While a Write waits for the other side to read this stream, its
// deadline and Close end it. While it waits for the connection itself, whose other side
// then reads nothing at all, they do not. The same holds for a Read that tells the other
// side of room for more.
type stream struct {
	*yamux.Stream
	session *Session

	reading sync.RWMutex // each Read holds it in shared mode

	mu       sync.Mutex  // held by shut, release and the setting of deadlines
	closed   atomic.Bool // set with mu held
	released atomic.Bool // set with mu held: yamux's deadlines stay in the past

	readDeadline, writeDeadline deadline
}

// deadline is a time that one goroutine may read while another sets it.
type deadline struct{ at atomic.Pointer[time.Time] }

func (d *deadline) set(t time.Time) { d.at.Store(&t) }

func (d *deadline) passed() bool {
	t := d.at.Load()
	return t != nil && !t.IsZero() && !time.Now().Before(*t)
}

// Read implements [net.Conn].
func (s *stream) Read(b []byte) (int, error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	if err := s.usable(&s.readDeadline); err != nil {
		return 0, err
	}
	n, err := s.Stream.Read(b)
	if s.released.Load() && errors.Is(err, yamux.ErrTimeout) {
		err = io.EOF // what yamux returns once it reaches this stream
	}
	return n, s.explain(err)
}

// Write implements [net.Conn].
func (s *stream) Write(b []byte) (int, error) {
	if err := s.usable(&s.writeDeadline); err != nil {
		return 0, err
	}
	n, err := s.Stream.Write(b)
	if s.released.Load() && errors.Is(err, yamux.ErrTimeout) {
		err = yamux.ErrSessionShutdown
	}
	return n, s.explain(err)
}

func (s *stream) usable(d *deadline) error {
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case d.passed():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

func (s *stream) explain(err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return explain(err)
}

// CloseWrite tells the other side that nothing more comes. Reading goes on.
func (s *stream) CloseWrite() error { return explain(s.Stream.Close()) }

// Close implements [net.Conn]. It never blocks.
func (s *stream) Close() error {
	if s.shut() {
		s.session.Go(s.finish) // if it does not run, the whole session has ended
	}
	return nil
}

// Refuse closes a stream that is not admitted, or any other connection. This side holds
// a stream of yamux until the other side closes it too. Refuse returns only then, or when
// the session ends, so a caller that bounds its calls of Refuse cannot be exhausted.
func Refuse(conn net.Conn) {
	s, ok := conn.(*stream)
	switch {
	case !ok:
		_ = conn.Close()
	case s.shut():
		s.finish()
	}
}

// shut ends each Read and Write, those that block and those to come. It reports false if
// the stream is shut already.
func (s *stream) shut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return false
	}
	_ = s.Stream.SetDeadline(time.Now()) // always nil
	return true
}

// finish ends a stream that is shut. yamux cannot tell the other side that this side no
// longer reads. finish discards what still comes, so that the other side neither blocks
// forever nor fills this side's memory.
func (s *stream) finish() {
	_ = s.Stream.Close() // fails only if the session has ended
	s.reading.Lock()     // each Read has ended, or ends at once
	s.mu.Lock()
	if !s.released.Load() {
		_ = s.Stream.SetReadDeadline(time.Time{})
	}
	s.mu.Unlock()
	s.reading.Unlock()
	s.discard()
	s.session.forget(s)
}

// discard discards what still comes, until the other side closes the stream or the
// session ends. The other side may delay its close for as long as it likes. So discard
// also gives back the buffer, in which yamux would keep up to a window for each stream.
func (s *stream) discard() {
	var err error
	for b := make([]byte, discardSize); err == nil; {
		_, err = s.Stream.Read(b)
		s.Shrink()
	}
}

// discardSize is how many bytes one read discards. It is small because each closed stream
// that the other side leaves open holds such a buffer.
const discardSize = 2 << 10

func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released.Store(true)
	_ = s.Stream.SetDeadline(time.Now())
}

// SetDeadline implements [net.Conn].
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (s *stream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.readDeadline, s.Stream.SetReadDeadline, t)
}

// SetWriteDeadline implements [net.Conn].
func (s *stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writeDeadline, s.Stream.SetWriteDeadline, t)
}

func (s *stream) setDeadline(d *deadline, set func(time.Time) error, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return net.ErrClosed
	}
	d.set(t)
	if s.released.Load() {
		return nil
	}
	return set(t)
}
