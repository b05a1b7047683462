package pw

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/transport"
)

// meshWindow is how many bytes of a stream of a mesh may be unread.
const meshWindow = 512 << 10

// mesh is one end of a connection whose transport has streams of its own, in memory.
type mesh struct {
	other *mesh
	came  chan *meshStream
	ended context.Context    //nolint:containedctx // as long as the connection
	end   context.CancelFunc // ends both ends

	mu     sync.Mutex // guards the fields below
	opened int
	limit  int // of streams that this end has opened; 0 means none
}

// newMesh returns both ends, and both ends of the first stream.
func newMesh(tb testing.TB) (ours, theirs *meshStream) {
	tb.Helper()
	ended, end := context.WithCancel(context.Background())
	a := &mesh{came: make(chan *meshStream, 1<<15), ended: ended, end: end}
	b := &mesh{came: make(chan *meshStream, 1<<15), ended: ended, end: end}
	a.other, b.other = b, a
	tb.Cleanup(end)
	return a.pair()
}

func (m *mesh) pair() (ours, theirs *meshStream) {
	there, back := newMeshPipe(m), newMeshPipe(m)
	ours = &meshStream{mesh: m, out: there, in: back}
	theirs = &meshStream{mesh: m.other, out: back, in: there}
	return ours, theirs
}

func (m *mesh) OpenStream() (transport.CancelableStream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ended.Err() != nil:
		return nil, net.ErrClosed
	case m.limit > 0 && m.opened >= m.limit:
		return nil, transport.ErrStreamLimit
	}
	m.opened++
	ours, theirs := m.pair()
	m.other.came <- theirs
	return ours, nil
}

func (m *mesh) AcceptStream(ctx context.Context) (transport.CancelableStream, error) {
	select {
	case s := <-m.came:
		return s, nil
	case <-m.ended.Done():
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// meshPipe is one direction of a stream.
type meshPipe struct {
	mesh *mesh
	done context.Context //nolint:containedctx // ends when nothing can be written any more
	end  context.CancelFunc

	mu                 sync.Mutex // guards the fields below
	changed            sync.Cond
	buf                []byte
	eof                bool
	broken             error
	readUntil, writeTo time.Time
}

func newMeshPipe(m *mesh) *meshPipe {
	p := &meshPipe{mesh: m}
	p.changed.L = &p.mu
	p.done, p.end = context.WithCancel(m.ended)
	context.AfterFunc(p.done, func() { p.set(func() {}) })
	return p
}

func (p *meshPipe) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (p *meshPipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case passed(p.readUntil):
			return 0, os.ErrDeadlineExceeded
		case p.broken != nil:
			return 0, p.broken
		case len(p.buf) > 0:
			n := copy(b, p.buf)
			p.buf = p.buf[n:]
			p.changed.Broadcast()
			return n, nil
		case p.eof:
			return 0, io.EOF
		case p.mesh.ended.Err() != nil:
			return 0, net.ErrClosed
		}
		p.changed.Wait()
	}
}

func (p *meshPipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 {
		switch {
		case passed(p.writeTo):
			return n, os.ErrDeadlineExceeded
		case p.broken != nil:
			return n, p.broken
		case p.eof, p.mesh.ended.Err() != nil:
			return n, net.ErrClosed
		}
		took := min(len(b), meshWindow-len(p.buf))
		if took == 0 {
			p.changed.Wait()
			continue
		}
		p.buf = append(p.buf, b[:took]...)
		b, n = b[took:], n+took
		p.changed.Broadcast()
	}
	return n, nil
}

// meshStream is one end of a stream.
type meshStream struct {
	*mesh
	in, out *meshPipe
}

func (s *meshStream) Read(b []byte) (int, error)  { return s.in.read(b) }
func (s *meshStream) Write(b []byte) (int, error) { return s.out.write(b) }

func (s *meshStream) Close() error {
	s.out.set(func() { s.out.eof = true })
	s.out.end()
	s.in.set(func() {
		if s.in.broken == nil {
			s.in.broken, s.in.buf = net.ErrClosed, nil
		}
	})
	s.in.end()
	return nil
}

func (s *meshStream) Cancel(code uint32) {
	for _, p := range []*meshPipe{s.in, s.out} {
		p.set(func() {
			if p.broken == nil {
				p.broken, p.buf = &transport.CanceledError{Code: code}, nil
			}
		})
		p.end()
	}
}

func (s *meshStream) Context() context.Context { return s.out.done }
func (s *meshStream) LocalAddr() net.Addr      { return &net.UDPAddr{} }
func (s *meshStream) RemoteAddr() net.Addr     { return &net.UDPAddr{} }

func (s *meshStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *meshStream) SetReadDeadline(t time.Time) error {
	s.in.set(func() { s.in.readUntil = t })
	return nil
}

func (s *meshStream) SetWriteDeadline(t time.Time) error {
	s.out.set(func() { s.out.writeTo = t })
	return nil
}

// connector makes a pair.
type connector func(tb testing.TB, atPlugin, atHost *service, change ...func(*calls.ServerConfig)) *pair

// connectMesh makes a pair whose calls have streams of their own.
func connectMesh(tb testing.TB, atPlugin, atHost *service, change ...func(*calls.ServerConfig)) *pair {
	tb.Helper()
	ours, theirs := newMesh(tb)
	return connectOn(tb, ours, theirs, atPlugin, atHost, change...)
}

// onEachMapping runs a test with calls that share a stream, and with calls that have streams of
// their own.
func onEachMapping(t *testing.T, test func(t *testing.T, connect connector)) {
	t.Helper()
	inTurn(t, func(t *testing.T, connect connector) {
		t.Helper()
		t.Parallel()
		test(t, connect)
	})
}

// inTurn is onEachMapping for a test that must run alone.
func inTurn(t *testing.T, test func(t *testing.T, connect connector)) {
	t.Helper()
	t.Run("shared", func(t *testing.T) { test(t, connect) })
	t.Run("tracks", func(t *testing.T) { test(t, connectMesh) })
}
