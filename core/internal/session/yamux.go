package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// muxBacklog is how many streams may wait to be accepted: they are accepted
	// at once, so it is only met by a peer that floods.
	muxBacklog = 256
	// muxOpening is how many goroutines may be opening a stream: each is done at once,
	// unless the other side accepts nothing, or reads nothing.
	muxOpening = 64
	// maxMuxStreams is how many streams this side opens on one session, and half of how many it
	// accepts. Streams count that one side has closed and the other has not: a peer could
	// leave any number of them open. Twice, because the other side may count one as closed a
	// moment before this one.
	maxMuxStreams = 2048
	// muxWindow is how much of a stream, in bytes, the other side may send
	// before it is read: it bounds the memory of a stream that nobody reads, and
	// is large enough that a fast reader does not keep a writer waiting.
	muxWindow = 1 << 20
	// muxWriteTimeout is how long a write to the connection may take. A peer
	// that is held by a debugger reads nothing and is not lost; the end of its
	// process is noticed by other means.
	muxWriteTimeout = 10 * time.Minute
	// muxCloseTimeout is how long a stream may be closed for writing only: it
	// may be read for as long as any plugin runs.
	muxCloseTimeout = 30 * 24 * time.Hour
	// muxLastTimeout is how long what the other side sent before it went away may
	// take to be taken in. It waits in a buffer of the system, and for no reader.
	muxLastTimeout = 10 * time.Second
)

func muxConfig() *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          muxBacklog,
		EnableKeepAlive:        false, // the end of the process is noticed by other means
		KeepAliveInterval:      time.Minute,
		ConnectionWriteTimeout: muxWriteTimeout,
		MaxStreamWindowSize:    muxWindow,
		StreamOpenTimeout:      0, // bounded by the context of Open and by admitTimeout
		StreamCloseTimeout:     muxCloseTimeout,
		LogOutput:              io.Discard, // its errors come back from the streams too
	}
}

// mux is one side's end of a yamux session. As a net.Listener it yields the
// streams that the other side opens.
type mux struct {
	session *yamux.Session
	opening chan struct{} // holds one for each stream that is being opened

	mu      sync.Mutex // guards the fields below
	streams map[*muxStream]struct{}
	ended   bool           // by release: no stream is added any more, and no task
	tasks   sync.WaitGroup // each ends with the session at the latest
}

func newMuxClient(conn net.Conn) (*mux, error) {
	return newMux(yamux.Client, &policed{Conn: conn, client: true})
}

func newMuxServer(conn net.Conn) (*mux, error) {
	return newMux(yamux.Server, &policed{Conn: conn})
}

func newMux(end func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error), conn net.Conn) (*mux, error) {
	m := &mux{opening: make(chan struct{}, muxOpening), streams: make(map[*muxStream]struct{})}
	var err error
	m.session, err = end(&muxConn{Conn: conn, release: m.release}, muxConfig())
	return m, err
}

// muxConn is the connection under a yamux session. It says when that ends, before
// yamux does where it can.
type muxConn struct {
	net.Conn
	release func()
	gone    bool // the other side; belongs to the goroutine of yamux that writes
}

// Write implements [net.Conn]. yamux ends the session at once when it cannot write,
// and what the other side sent last would be lost. So when that has gone away, Read
// is to end the session, which comes to it after all of that.
func (c *muxConn) Write(b []byte) (int, error) {
	if c.gone {
		return len(b), nil
	}
	n, err := c.Conn.Write(b)
	if err != nil && c.SetReadDeadline(time.Now().Add(muxLastTimeout)) == nil {
		c.gone = true
		return len(b), nil
	}
	return n, err
}

// Read implements [net.Conn].
func (c *muxConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && err != nil { // yamux has taken in all that came before
		c.release()
	}
	return n, err
}

// Close implements [net.Conn].
func (c *muxConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// release ends each Read and Write that waits, when the session ends. yamux has
// them turn in a loop, from when it begins to end the session until it has come to
// their stream. It is late to come there: with some thousands of them on one
// processor that took minutes.
func (m *mux) release() {
	m.mu.Lock()
	streams := m.streams
	m.streams, m.ended = nil, true
	m.mu.Unlock()
	for s := range streams {
		s.release()
	}
}

// add makes a stream of ours from one of yamux's.
func (m *mux) add(stream *yamux.Stream) (net.Conn, error) {
	s := &muxStream{Stream: stream, mux: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil, errEnded
	}
	m.streams[s] = struct{}{}
	return s, nil
}

// forget is called when nothing waits for the stream any more.
func (m *mux) forget(s *muxStream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.streams, s)
}

// open opens a stream. yamux takes no context: it waits when muxBacklog streams
// are not yet accepted, or when the other side reads nothing. Goroutines that wait
// for it, and maybe for nobody any more, are bounded: callers wait for their turn.
func (m *mux) open(ctx context.Context) (net.Conn, error) {
	if m.count() >= maxMuxStreams {
		return nil, errManyStreams
	}
	select {
	case m.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-m.session.CloseChan():
		return nil, errEnded
	}
	type result struct {
		stream *yamux.Stream
		err    error
	}
	opened := make(chan result)
	started := m.run(func() {
		s, err := m.session.OpenStream()
		<-m.opening
		select {
		case opened <- result{s, err}:
		case <-ctx.Done():
			if err == nil {
				_ = s.Close() // nobody wants it any more
			}
		}
	})
	if !started {
		<-m.opening
		return nil, errEnded
	}
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, muxError(r.err)
		}
		return m.add(r.stream)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (m *mux) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.streams)
}

var (
	errManyStreams = fmt.Errorf("%d streams of the connection are open already, which is the limit", maxMuxStreams)
	errFlooded     = fmt.Errorf("the other side holds more than %d streams open on one connection", 2*maxMuxStreams)
)

// Accept implements [net.Listener]. yamux cannot refuse a stream alone, so a peer that
// holds too many loses the session.
func (m *mux) Accept() (net.Conn, error) {
	if m.count() >= 2*maxMuxStreams {
		return nil, &endError{errFlooded}
	}
	s, err := m.session.AcceptStream()
	if err != nil {
		return nil, &endError{muxError(err)}
	}
	return m.add(s)
}

// endError is why a session has ended. That of a connection may say that it passes,
// as one about a deadline does: the session's end does not.
type endError struct{ error }

func (e *endError) Unwrap() error { return e.error }
func (*endError) Temporary() bool { return false }

// Addr implements [net.Listener].
func (m *mux) Addr() net.Addr { return m.session.Addr() }

// Close implements [net.Listener].
func (m *mux) Close() error { return m.close() }

// close ends the session, its connection, and every stream, and waits for the
// goroutines.
func (m *mux) close() error {
	err := m.end()
	m.tasks.Wait()
	return err
}

// end is close without the wait, for the goroutines that close waits for.
func (m *mux) end() error {
	m.release() // before yamux has them turn in a loop
	return m.session.Close()
}

// run runs f in a goroutine for which close waits. It reports false, and does
// not run f, when the session has ended.
func (m *mux) run(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return false
	}
	m.tasks.Go(f)
	return true
}

// muxStream is a stream that keeps the contract of net.Conn: yamux's own Close
// only ends writing, its errors are its own, and it serves what it has buffered
// also after a deadline.
//
// One thing it cannot mend: a Write ends by its deadline, or by Close, while it
// waits for the other side to read this stream, but not while it waits for the
// connection itself, whose other side then reads nothing at all. So does a Read
// that tells the other side of room for more.
type muxStream struct {
	*yamux.Stream
	mux *mux

	reading sync.RWMutex // held in shared mode by each Read

	mu       sync.Mutex  // makes shut, release and the setting of deadlines take turns
	closed   atomic.Bool // set with mu held
	released atomic.Bool // set with mu held: yamux's deadlines have passed for good

	readDeadline, writeDeadline deadline
}

// deadline is a time that can be looked at while it is set.
type deadline struct{ at atomic.Pointer[time.Time] }

func (d *deadline) set(t time.Time) { d.at.Store(&t) }

func (d *deadline) passed() bool {
	t := d.at.Load()
	return t != nil && !t.IsZero() && !time.Now().Before(*t)
}

// Read implements [net.Conn].
func (s *muxStream) Read(b []byte) (int, error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	if err := s.usable(&s.readDeadline); err != nil {
		return 0, err
	}
	n, err := s.Stream.Read(b)
	if s.released.Load() && errors.Is(err, yamux.ErrTimeout) {
		err = io.EOF // as yamux says when it gets there
	}
	return n, s.explain(err)
}

// Write implements [net.Conn].
func (s *muxStream) Write(b []byte) (int, error) {
	if err := s.usable(&s.writeDeadline); err != nil {
		return 0, err
	}
	n, err := s.Stream.Write(b)
	if s.released.Load() && errors.Is(err, yamux.ErrTimeout) {
		err = yamux.ErrSessionShutdown
	}
	return n, s.explain(err)
}

func (s *muxStream) usable(d *deadline) error {
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case d.passed():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

func (s *muxStream) explain(err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return muxError(err)
}

func muxError(err error) error {
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

// CloseWrite tells the other end that nothing more comes. Reading goes on.
func (s *muxStream) CloseWrite() error { return muxError(s.Stream.Close()) }

// Close implements [net.Conn]. It waits for nothing.
func (s *muxStream) Close() error {
	if s.shut() {
		s.mux.run(s.finish) // if it does not, the whole session ends
	}
	return nil
}

// refuse closes a stream that is not let in. One of yamux's is something that this
// side holds until the other closes it too, so refuse returns then, or when the
// session ends: who has only so many refused at a time is not exhausted by them.
func refuse(conn net.Conn) {
	s, ok := conn.(*muxStream)
	switch {
	case !ok:
		_ = conn.Close()
	case s.shut():
		s.finish()
	}
}

// shut ends a Read and a Write, and all that follow. It reports false if that is done
// already.
func (s *muxStream) shut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return false
	}
	_ = s.Stream.SetDeadline(time.Now()) // always nil
	return true
}

// finish ends a closed stream. yamux cannot tell the other side that nobody
// reads any more: what it still writes is thrown away, so that it neither waits
// for ever nor fills this side's memory.
func (s *muxStream) finish() {
	_ = s.Stream.Close() // fails only if the session has ended
	s.reading.Lock()     // each Read has ended, or will at once
	s.mu.Lock()
	if !s.released.Load() {
		_ = s.Stream.SetReadDeadline(time.Time{})
	}
	s.mu.Unlock()
	s.reading.Unlock()
	s.discard()
	s.mux.forget(s)
}

// discard throws away what still comes, until the other side closes the stream or the
// session ends. The other side may wait with that for as long as it likes, so yamux must
// not keep the memory that held what came: it was up to muxWindow for each such stream.
func (s *muxStream) discard() {
	var err error
	for b := make([]byte, discardPiece); err == nil; {
		_, err = s.Stream.Read(b)
		s.Shrink()
	}
}

// discardPiece is how much is discarded at a time: little, because it is held for each
// closed stream that the other side leaves open.
const discardPiece = 2 << 10

func (s *muxStream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released.Store(true)
	_ = s.Stream.SetDeadline(time.Now())
}

// SetDeadline implements [net.Conn].
func (s *muxStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (s *muxStream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.readDeadline, s.Stream.SetReadDeadline, t)
}

// SetWriteDeadline implements [net.Conn].
func (s *muxStream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writeDeadline, s.Stream.SetWriteDeadline, t)
}

func (s *muxStream) setDeadline(d *deadline, set func(time.Time) error, t time.Time) error {
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
