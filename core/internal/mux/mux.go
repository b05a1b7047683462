// Package mux makes many streams of one connection. It is yamux, mended. Streams keep
// the contract of net.Conn. A session ends at once however many streams it has. The
// memory that the other side can make this side hold is bounded.
//
// Begin with [Client] or [Server]. What a stream is for, and which peer is at its other end,
// is the concern of package session.
package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// MaxStreams is how many streams this side opens on one session, and half of how many
	// it accepts. A stream that only this side has closed counts too, since the other side
	// could leave any number of them open. The limit for accepted streams is twice as high
	// because the other side may count a stream as closed a moment before this side does.
	MaxStreams = 2048

	// backlog is how many streams may wait to be accepted. This side accepts streams at
	// once, so only a peer that floods it reaches the limit.
	backlog = 256
	// maxOpening is how many goroutines may be opening a stream. Each is done at once,
	// unless the other side accepts nothing or reads nothing.
	maxOpening = 64
	// window is how much of a stream, in bytes, the other side may send before this side
	// reads it. It bounds the memory of a stream without a reader, and is large enough
	// that a fast reader does not delay the writer.
	window = 1 << 20
	// writeTimeout is how long a write to the connection may take. A peer that a debugger
	// holds reads nothing and is not lost. The end of the peer's process is noticed by
	// other means.
	writeTimeout = 10 * time.Minute
	// closeTimeout is how long a stream may be closed for writing only: a reader may go on
	// for as long as any plugin runs.
	closeTimeout = 30 * 24 * time.Hour
	// lastTimeout is how long this side may take to read what the other side sent before
	// it went away. The system has buffered it, so reading depends on nobody else.
	lastTimeout = 10 * time.Second
)

// Config returns the settings of yamux that both ends of a session have.
func Config() *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          backlog,
		EnableKeepAlive:        false, // the end of the process is noticed by other means
		KeepAliveInterval:      time.Minute,
		ConnectionWriteTimeout: writeTimeout,
		MaxStreamWindowSize:    window,
		StreamOpenTimeout:      0, // the context of Open is the bound
		StreamCloseTimeout:     closeTimeout,
		LogOutput:              io.Discard, // streams return the same errors
	}
}

// Session is one side's end. As a [net.Listener] it yields the streams that the other
// side opens. Its methods are safe for concurrent use.
type Session struct {
	yamux   *yamux.Session
	opening chan struct{} // holds one item for each stream that is being opened

	mu      sync.Mutex // guards the fields below
	streams map[*stream]struct{}
	ended   bool           // set by release: from then on no stream and no task is added
	tasks   sync.WaitGroup // each ends with the session at the latest
}

var _ net.Listener = (*Session)(nil)

// Client begins a session as yamux's client. Policy judges each frame of the other side.
// The session owns conn, unless it returns an error.
func Client(conn net.Conn, policy Policy) (*Session, error) {
	return newSession(yamux.Client, conn, policy)
}

// Server begins a session as yamux's server, as [Client] does.
func Server(conn net.Conn, policy Policy) (*Session, error) {
	return newSession(yamux.Server, conn, policy)
}

func newSession(begin func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error), conn net.Conn, policy Policy) (*Session, error) {
	s := &Session{opening: make(chan struct{}, maxOpening), streams: make(map[*stream]struct{})}
	var err error
	s.yamux, err = begin(&carrier{Conn: &inspectedConn{Conn: conn, policy: policy}, release: s.release}, Config())
	return s, err
}

// ErrEnded is the error of everything that needs a session which has ended.
var ErrEnded = fmt.Errorf("the session ended: %w", net.ErrClosed)

// carrier is the connection under a session. It calls release before yamux notices the
// end of the connection, where it can.
type carrier struct {
	net.Conn
	release func()
	gone    bool // the other side went away; belongs to yamux's writing goroutine
}

// Write implements [net.Conn]. yamux ends the session at once when it cannot write, and
// what the other side sent last would be lost. So after the other side went away, Write
// only seems to succeed, and Read ends the session: after all that the other side sent.
func (c *carrier) Write(b []byte) (int, error) {
	if c.gone {
		return len(b), nil
	}
	n, err := c.Conn.Write(b)
	if err != nil && c.SetReadDeadline(time.Now().Add(lastTimeout)) == nil {
		c.gone = true
		return len(b), nil
	}
	return n, err
}

// Read implements [net.Conn].
func (c *carrier) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && err != nil { // yamux has read all that came before
		c.release()
	}
	return n, err
}

// Close implements [net.Conn].
func (c *carrier) Close() error {
	c.release()
	return c.Conn.Close()
}

// release wakes each blocked Read and Write when the session ends. When yamux ends a
// session, blocked readers and writers spin until yamux reaches their stream. With
// thousands of streams on one processor that took minutes, so release wakes them first.
func (s *Session) release() {
	s.mu.Lock()
	streams := s.streams
	s.streams, s.ended = nil, true
	s.mu.Unlock()
	for st := range streams {
		st.release()
	}
}

// add makes a stream of ours from one of yamux's.
func (s *Session) add(from *yamux.Stream) (net.Conn, error) {
	st := &stream{Stream: from, session: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, ErrEnded
	}
	s.streams[st] = struct{}{}
	return st, nil
}

// forget removes a stream on which nothing can block any more.
func (s *Session) forget(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
}

// Streams returns how many streams are open, or closed by one side only.
func (s *Session) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

var (
	errManyStreams = fmt.Errorf("%d streams of the connection are open already, which is the limit", MaxStreams)
	// ErrFlooded is why Accept ends a session whose other side opens streams without end.
	ErrFlooded = fmt.Errorf("the other side holds more than %d streams open on one connection", 2*MaxStreams)
)

// Open opens a stream. yamux takes no context: it blocks while the other side has not
// accepted the last streams of the backlog, or reads nothing. So Open calls yamux in a
// goroutine, which may outlast the context. The number of such goroutines is bounded, and
// further callers wait.
func (s *Session) Open(ctx context.Context) (net.Conn, error) {
	if s.Streams() >= MaxStreams {
		return nil, errManyStreams
	}
	select {
	case s.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.yamux.CloseChan():
		return nil, ErrEnded
	}
	type result struct {
		stream *yamux.Stream
		err    error
	}
	opened := make(chan result)
	started := s.Go(func() {
		st, err := s.yamux.OpenStream()
		<-s.opening
		select {
		case opened <- result{st, err}:
		case <-ctx.Done():
			if err == nil {
				_ = st.Close() // the caller has given up
			}
		}
	})
	if !started {
		<-s.opening
		return nil, ErrEnded
	}
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, explain(r.err)
		}
		return s.add(r.stream)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements [net.Listener]. yamux cannot refuse one stream alone, so a peer that
// holds too many streams loses the session.
func (s *Session) Accept() (net.Conn, error) {
	if s.Streams() >= 2*MaxStreams {
		return nil, &endError{ErrFlooded}
	}
	st, err := s.yamux.AcceptStream()
	if err != nil {
		return nil, &endError{explain(err)}
	}
	return s.add(st)
}

// endError is the reason of a session's end. The reason that a connection ended may
// claim to be temporary, as one about a deadline does. The end of the session never is.
type endError struct{ error }

func (e *endError) Unwrap() error { return e.error }
func (*endError) Temporary() bool { return false }

// Addr implements [net.Listener].
func (s *Session) Addr() net.Addr { return s.yamux.Addr() }

// Close ends the session, its connection and every stream, and waits for the session's
// goroutines. It is idempotent.
func (s *Session) Close() error {
	err := s.End()
	s.tasks.Wait()
	return err
}

// End is Close without the wait, for the goroutines that Close waits for.
func (s *Session) End() error {
	s.release() // before yamux makes readers and writers spin
	return s.yamux.Close()
}

// Go runs f in a goroutine that Close waits for. When the session has ended, Go reports
// false and does not run f.
func (s *Session) Go(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.tasks.Go(f)
	return true
}

func explain(err error) error {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrStreamClosed), errors.Is(err, yamux.ErrSessionShutdown):
		return fmt.Errorf("%w: %w", err, net.ErrClosed)
	default:
		return err
	}
}
