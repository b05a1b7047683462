package mux

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/plugwire/plugwire/core/internal/streamtest"
)

// unixPair returns the two ends of a unix socket.
func unixPair() (a, b net.Conn, err error) {
	dir, err := os.MkdirTemp("", "yamux")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", dir+"/s")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if a, err = net.Dial("unix", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	b, err = ln.Accept()
	return a, b, err
}

func netPipe() (a, b net.Conn, err error) {
	a, b = net.Pipe()
	return a, b, nil
}

// newPair returns both ends of a yamux session over such a connection.
func newPair(conns func() (net.Conn, net.Conn, error)) (client, server *Session, err error) {
	a, b, err := conns()
	if err != nil {
		return nil, nil, err
	}
	client, err = Client(a, HostPolicy)
	if err != nil {
		return nil, nil, err
	}
	server, err = Server(b, PluginPolicy)
	return client, server, err
}

// sessions returns both ends of a session, which end with the test.
func sessions(t *testing.T) (client, server *Session) {
	t.Helper()
	client, server, err := newPair(unixPair)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, client, server) })
	return client, server
}

// openStream opens a stream and returns both ends.
func openStream(t *testing.T, client, server *Session) (a, b *stream) {
	t.Helper()
	opened, err := client.Open(streamtest.Bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*stream), accepted.(*stream)
}

func TestConn(t *testing.T) {
	for name, conns := range map[string]func() (net.Conn, net.Conn, error){"unix": unixPair, "pipe": netPipe} {
		for _, swap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s swapped %t", name, swap), func(t *testing.T) {
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					client, server, err := newPair(conns)
					if err != nil {
						return nil, nil, nil, err
					}
					c1, err := client.Open(t.Context())
					if err != nil {
						return nil, nil, nil, err
					}
					c2, err := server.Accept()
					if swap {
						c1, c2 = c2, c1
					}
					return c1, c2, func() { streamtest.CheckClose(t, c1, c2, client, server) }, err
				})
			})
		}
	}
}

// TestHalfClose closes one direction.
func TestHalfClose(t *testing.T) {
	client, server := sessions(t)
	a, b := openStream(t, client, server)
	for _, ends := range [][2]*stream{{a, b}, {b, a}} {
		if _, err := io.WriteString(ends[0], "the last"); err != nil {
			t.Fatal(err)
		}
		if err := ends[0].CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := ends[0].Write([]byte{0}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after CloseWrite: %v, want %v", err, net.ErrClosed)
		}
		if got, err := io.ReadAll(ends[1]); err != nil || string(got) != "the last" {
			t.Errorf("read %q, %v", got, err)
		}
	}
	streamtest.CheckClose(t, a, b)
}

// TestClose reads what was written before Close. After it nothing passes in either direction.
func TestClose(t *testing.T) {
	client, server := sessions(t)
	a, b := openStream(t, client, server)
	if _, err := io.WriteString(a, "the last"); err != nil {
		t.Fatal(err)
	}
	reading := streamtest.Go(func() (int, error) { return a.Read(make([]byte, 1)) })
	streamtest.CheckClose(t, a, a)
	if r := streamtest.Receive(t, "the read", reading); !errors.Is(r.Err, net.ErrClosed) {
		t.Errorf("the read that Close met: %v, want %v", r.Err, net.ErrClosed)
	}
	for name, f := range map[string]func() error{
		"Read":             func() error { _, err := a.Read(make([]byte, 1)); return err },
		"Write":            func() error { _, err := a.Write([]byte{0}); return err },
		"SetDeadline":      func() error { return a.SetDeadline(time.Time{}) },
		"SetReadDeadline":  func() error { return a.SetReadDeadline(time.Time{}) },
		"SetWriteDeadline": func() error { return a.SetWriteDeadline(time.Time{}) },
	} {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v, want %v", name, err, net.ErrClosed)
		}
	}
	if got, err := io.ReadAll(b); err != nil || string(got) != "the last" {
		t.Errorf("the other end read %q, %v", got, err)
	}
	streamtest.CheckClose(t, b)
	eventuallyNoStreams(t, client, server)
}

// eventuallyNoStreams polls: nothing announces the end of a stream.
func eventuallyNoStreams(t *testing.T, sides ...*Session) {
	t.Helper()
	ctx := streamtest.Bounded(t)
	for _, m := range sides {
		for m.yamux.NumStreams() > 0 {
			select {
			case <-ctx.Done():
				t.Fatalf("%d streams are left", m.yamux.NumStreams())
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// TestWriteToAClosedStream writes to a stream that its reader has closed. The writer does
// not block forever, and costs the reader no memory.
func TestWriteToAClosedStream(t *testing.T) {
	client, server := sessions(t)
	for _, waiting := range []bool{false, true} {
		a, b := openStream(t, client, server)
		const size = 16 * window
		wrote := streamtest.Go(func() (int, error) { return a.Write(make([]byte, size)) })
		if waiting {
			if _, err := io.CopyN(io.Discard, b, window); err != nil {
				t.Fatal(err)
			}
		}
		streamtest.CheckClose(t, b)
		if r := streamtest.Receive(t, "the write", wrote); r.Err != nil || r.Value != size {
			t.Errorf("%d bytes were written, %v; want %d", r.Value, r.Err, size)
		}
		streamtest.CheckEnded(t, a)
		streamtest.CheckClose(t, a)
	}
	eventuallyNoStreams(t, client, server)
}

func TestDeadlines(t *testing.T) {
	client, server := sessions(t)
	a, b := openStream(t, client, server)
	if err := a.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if n, err := a.Write(make([]byte, 2*window)); !errors.Is(err, os.ErrDeadlineExceeded) || n > window {
		t.Errorf("%d bytes written, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	// After the deadline a Read does not return buffered bytes either.
	if _, err := b.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes after the deadline, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("read %d bytes without a deadline, %v; want 1", n, err)
	}
	streamtest.CheckClose(t, a, b)
}

// TestUnreadStream leaves a stream unread. It buffers no more than its window, and delays no
// other stream.
func TestUnreadStream(t *testing.T) {
	client, server := sessions(t)
	unread, other := openStream(t, client, server)
	busy, busyEnd := openStream(t, client, server)
	if n, err := unread.Write(make([]byte, window)); err != nil {
		t.Fatalf("%d bytes were taken from a writer without a reader, %v; want %d", n, err, window)
	}
	more := streamtest.Go(func() (int, error) { return unread.Write(make([]byte, 7*window)) })
	const size = 16 * window
	data := make([]byte, size)
	_, _ = rand.Read(data)
	wrote := streamtest.Go(func() (int, error) { return busy.Write(data) })
	got := make([]byte, size)
	if _, err := io.ReadFull(busyEnd, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the stream beside it: %v, equal %t", err, bytes.Equal(got, data))
	}
	if r := streamtest.Receive(t, "the write", wrote); r.Err != nil {
		t.Error(r.Err)
	}
	if err := unread.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if r := streamtest.Receive(t, "the write without a reader", more); r.Value != 0 || !errors.Is(r.Err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes more were taken, %v; want none until its deadline", r.Value, r.Err)
	}
	if n, err := io.CopyN(io.Discard, other, window); err != nil {
		t.Errorf("%d of the unread bytes were read later: %v", n, err)
	}
	streamtest.CheckClose(t, unread, other, busy, busyEnd)
}

func TestManyStreams(t *testing.T) {
	const streams, atOnce = 2000, 100
	client, server := sessions(t)
	echoed := make(chan error, 1)
	go func() {
		var tasks sync.WaitGroup
		for range streams {
			conn, err := server.Accept()
			if err != nil {
				echoed <- err
				return
			}
			tasks.Go(func() {
				_, _ = io.Copy(conn, conn) // the other end checks what comes
				_ = conn.Close()
			})
		}
		tasks.Wait()
		echoed <- nil
	}()
	ctx := streamtest.Bounded(t)
	errs := make(chan error, atOnce)
	for caller := range atOnce {
		go func() {
			var err error
			for i := range streams / atOnce {
				err = errors.Join(err, echo(ctx, client, []byte(fmt.Sprintf("%d of %d", i, caller))))
			}
			errs <- err
		}()
	}
	for range atOnce {
		if err := streamtest.Receive(t, "a caller", errs); err != nil {
			t.Error(err)
		}
	}
	if err := streamtest.Receive(t, "the echo", echoed); err != nil {
		t.Error(err)
	}
	eventuallyNoStreams(t, client, server)
}

// echo opens a stream, writes text and reads it back.
func echo(ctx context.Context, client *Session, text []byte) error {
	conn, err := client.Open(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(text); err != nil {
		return err
	}
	if err := conn.(*stream).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && !bytes.Equal(got, text) {
		err = fmt.Errorf("%q came back for %q", got, text)
	}
	return err
}

// TestOpenEndsWithItsContext opens streams that nothing accepts.
func TestOpenEndsWithItsContext(t *testing.T) {
	errGivenUp := errors.New("given up")
	client, server := sessions(t)
	for range backlog {
		if _, err := client.Open(streamtest.Bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errGivenUp)
	defer cancel()
	if conn, err := client.Open(ctx); conn != nil || !errors.Is(err, errGivenUp) {
		t.Errorf("got %v, %v; want the context's cause", conn, err)
	}
	for range backlog {
		if _, err := server.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := client.Open(streamtest.Bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	streamtest.CheckClose(t, conn)
}

// TestOpenIsBounded gives up opening streams while the other side accepts nothing. Only
// maxOpening calls leave a goroutine behind. A call beyond them waits, and ends with the
// session.
func TestOpenIsBounded(t *testing.T) {
	client, server := sessions(t)
	for range backlog {
		if _, err := client.Open(streamtest.Bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var first sync.WaitGroup
	for range maxOpening {
		first.Go(func() { _, _ = client.Open(ctx) })
	}
	for bound := streamtest.Bounded(t); len(client.opening) < maxOpening; {
		select {
		case <-bound.Done():
			t.Fatalf("%d streams are being opened, want %d", len(client.opening), maxOpening)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	first.Wait()
	before := runtime.NumGoroutine()
	const more = 100
	for range more {
		if conn, err := client.Open(ctx); conn != nil || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, %v; want %v", conn, err, context.Canceled)
		}
	}
	if n := runtime.NumGoroutine() - before; n > more/10 {
		t.Errorf("%d calls that were given up left %d goroutines", more, n)
	}
	waiting := streamtest.Go(func() (net.Conn, error) { return client.Open(t.Context()) })
	streamtest.CheckClose(t, server)
	if r := streamtest.Receive(t, "the call that waits", waiting); r.Value != nil || !errors.Is(r.Err, net.ErrClosed) {
		t.Errorf("got %v, %v; want %v", r.Value, r.Err, net.ErrClosed)
	}
}

// TestSessionCloses ends a session whose streams have blocked readers and writers, on both
// sides.
func TestSessionCloses(t *testing.T) {
	client, server := sessions(t)
	a, b := openStream(t, client, server)
	accepting := streamtest.Go(server.Accept)
	reads := []<-chan streamtest.Result[int]{
		streamtest.Go(func() (int, error) { return a.Read(make([]byte, 1)) }),
		streamtest.Go(func() (int, error) { return b.Read(make([]byte, 1)) }),
	}
	writes := []<-chan streamtest.Result[int]{
		streamtest.Go(func() (int, error) { return a.Write(make([]byte, 2*window)) }),
	}
	streamtest.CheckClose(t, client, client)
	for _, r := range reads {
		if r := streamtest.Receive(t, "a read", r); r.Err == nil {
			t.Error("a read succeeded")
		}
	}
	for _, w := range writes {
		if r := streamtest.Receive(t, "a write", w); !errors.Is(r.Err, net.ErrClosed) {
			t.Errorf("a write: %v, want %v", r.Err, net.ErrClosed)
		}
	}
	if r := streamtest.Receive(t, "Accept", accepting); r.Err == nil {
		t.Error("Accept succeeded")
	}
	if conn, err := client.Open(streamtest.Bounded(t)); conn != nil || !errors.Is(err, ErrEnded) {
		t.Errorf("open after Close: %v, %v; want %v", conn, err, ErrEnded)
	}
	if conn, err := client.Accept(); conn != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, %v; want %v", conn, err, net.ErrClosed)
	}
	if _, err := a.Write([]byte{0}); !errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "\n") {
		t.Errorf("write after the session's Close: %q, want %v on one line", err, net.ErrClosed)
	}
	streamtest.CheckClose(t, a, b)
}

// TestCloseWithAPeerThatReadsNothing closes a stream and its session while the peer reads
// nothing at all, as a process that a debugger holds. Neither Close blocks.
func TestCloseWithAPeerThatReadsNothing(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	client, err := Client(ours, HostPolicy)
	if err != nil {
		t.Fatal(err)
	}
	opening := streamtest.Go(func() (net.Conn, error) { return client.Open(t.Context()) })
	if _, err := io.ReadFull(theirs, make([]byte, frameLen)); err != nil { // the stream's first frame
		t.Fatal(err)
	}
	r := streamtest.Receive(t, "open", opening)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	wrote := streamtest.Go(func() (int, error) { return r.Value.Write([]byte{0}) })
	closed := streamtest.Go(func() (any, error) { return nil, errors.Join(r.Value.Close(), client.Close()) })
	if r := streamtest.Receive(t, "Close", closed); r.Err != nil {
		t.Error(r.Err)
	}
	if r := streamtest.Receive(t, "the write", wrote); !errors.Is(r.Err, net.ErrClosed) {
		t.Errorf("the write: %v, want %v", r.Err, net.ErrClosed)
	}
}

// heldConn is a connection whose Read waits for proceed, except for a Read that has begun.
type heldConn struct {
	net.Conn
	proceed atomic.Pointer[chan struct{}] // nil: nothing waits
}

func (h *heldConn) Read(b []byte) (int, error) {
	if proceed := h.proceed.Load(); proceed != nil {
		<-*proceed
	}
	return h.Conn.Read(b)
}

// TestLastOfASideThatIsGone reads what the other side sent before it went away, after a
// failed write has shown this side that the other is gone.
func TestLastOfASideThatIsGone(t *testing.T) {
	ours, theirs, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	conn := &heldConn{Conn: ours}
	client, err := Client(conn, HostPolicy)
	if err != nil {
		t.Fatal(err)
	}
	server, err := Server(theirs, PluginPolicy)
	if err != nil {
		t.Fatal(err)
	}
	a, b := openStream(t, client, server)
	proceed := make(chan struct{})
	conn.proceed.Store(&proceed)
	const size = 32 << 10 // which the system holds, and yamux does not in one Read
	if _, err := b.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	streamtest.CheckClose(t, b, server)
	if _, err := a.Write([]byte{0}); err != nil {
		t.Errorf("write to a side that is gone: %v", err)
	}
	close(proceed)
	if n, err := io.Copy(io.Discard, a); n != size || err != nil {
		t.Errorf("read %d bytes, %v; want %d", n, err, size)
	}
	if _, err := client.Accept(); !errors.Is(err, io.EOF) {
		t.Errorf("Accept: %v, want what ended the session, %v", err, io.EOF)
	}
	streamtest.CheckClose(t, client)
}

// TestSideThatTakesNothing writes to a side that neither reads nor goes away. The session ends
// all the same. yamux itself cannot be in the bubble, since it shares its timers.
func TestSideThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		released := false
		conn := &carrier{Conn: &brokenConn{ours}, release: func() { released = true }}
		began := time.Now()
		for range 2 {
			if n, err := conn.Write([]byte("data")); n != 4 || err != nil {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
			time.Sleep(lastTimeout / 2)
		}
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v; want %v", n, err, os.ErrDeadlineExceeded)
		}
		if took := time.Since(began); took != lastTimeout || !released {
			t.Errorf("Read ended after %v, want %v; released: %t", took, lastTimeout, released)
		}
		streamtest.CheckClose(t, conn, theirs)
	})
}

// TestEndIsForGood ends a session by an error of its connection that claims to be temporary.
// Accept does not pass the claim on: its caller would then wait for a dead session.
func TestEndIsForGood(t *testing.T) {
	ours, theirs, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	defer streamtest.CheckClose(t, theirs)
	if err := ours.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	server, err := Server(ours, PluginPolicy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || isTemporary(err) {
		t.Errorf("Accept: %v, may pass: %t; want %v for good", err, isTemporary(err), os.ErrDeadlineExceeded)
	}
	streamtest.CheckClose(t, server)
}

// brokenConn is a connection that cannot be written to.
type brokenConn struct{ net.Conn }

func (*brokenConn) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// slowCloseConn is a connection whose Close waits for proceed.
type slowCloseConn struct {
	net.Conn
	proceed chan struct{}
}

func (c *slowCloseConn) Close() error {
	<-c.proceed
	return c.Conn.Close()
}

// TestEndReleasesAtOnce ends a session with a blocked reader and a blocked writer. They wake
// as the session begins to end, not when yamux reaches their stream: until then they spin.
func TestEndReleasesAtOnce(t *testing.T) {
	ours, theirs, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	conn := &slowCloseConn{ours, make(chan struct{})}
	client, err := Client(conn, HostPolicy)
	if err != nil {
		t.Fatal(err)
	}
	server, err := Server(theirs, PluginPolicy)
	if err != nil {
		t.Fatal(err)
	}
	defer streamtest.CheckClose(t, server)
	a, _ := openStream(t, client, server)
	gone, _ := openStream(t, client, server)
	streamtest.CheckClose(t, gone) // what still comes on it is thrown away, until the end
	read := streamtest.Go(func() (int, error) { return a.Read(make([]byte, 1)) })
	wrote := streamtest.Go(func() (int, error) { return a.Write(make([]byte, 2*window)) })
	closed := streamtest.Go(func() (any, error) { return nil, client.Close() })
	if r := streamtest.Receive(t, "the read", read); !errors.Is(r.Err, io.EOF) {
		t.Errorf("the read: %v, want %v", r.Err, io.EOF)
	}
	if r := streamtest.Receive(t, "the write", wrote); !errors.Is(r.Err, net.ErrClosed) {
		t.Errorf("the write: %v, want %v", r.Err, net.ErrClosed)
	}
	streamtest.Receive(t, "the goroutine that discards", streamtest.Go(func() (any, error) { client.tasks.Wait(); return nil, nil }))
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Error(err)
	}
	if n, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}
	close(conn.proceed)
	if r := streamtest.Receive(t, "Close", closed); r.Err != nil {
		t.Error(r.Err)
	}
}

// TestEndReleasesFirst checks that readers wake before yamux begins to end the session,
// whichever side ends it. After that they would spin, and take the processor from the
// goroutine that wakes them.
func TestEndReleasesFirst(t *testing.T) {
	for name, end := range map[string]func(client, server *Session) error{
		"by this side":      func(client, _ *Session) error { return client.Close() },
		"by the other side": func(_, server *Session) error { return server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := sessions(t)
			a, _ := openStream(t, client, server)
			a.mu.Lock() // the release has to wait for this
			ended := streamtest.Go(func() (any, error) { return nil, end(client, server) })
			for ctx := streamtest.Bounded(t); !client.isEnded(); {
				select {
				case <-ctx.Done():
					t.Fatal("nothing is released")
				case <-time.After(time.Millisecond):
				}
			}
			if client.yamux.IsClosed() {
				t.Error("yamux has begun to end the session")
			}
			a.mu.Unlock()
			if r := streamtest.Receive(t, "the end", ended); r.Err != nil {
				t.Error(r.Err)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the read: %v, want %v", err, io.EOF)
			}
		})
	}
}

func (m *Session) isEnded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended
}

// frameLen is the length of a frame's header in yamux (spec.md there).
const frameLen = 12

// frame is a yamux frame's header.
func frame(kind byte, flags uint16, stream, length uint32) []byte {
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return binary.BigEndian.AppendUint32(b, length)
}

// hostile are bytes that a peer may send and should not.
var hostile = map[string][]byte{
	"not yamux":            []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	"unknown kind":         frame(9, 0, 1, 0),
	"the same stream":      append(frame(1, 1, 1, 0), frame(1, 1, 1, 0)...),
	"more than the window": append(append(frame(1, 1, 1, 0), frame(0, 0, 1, 1<<31)...), make([]byte, 1<<10)...),
	"an end twice":         append(append(frame(1, 1, 1, 0), frame(1, 4, 1, 0)...), frame(1, 4, 1, 0)...),
	"half a frame":         frame(0, 1, 1, 100),
}

// serveHostile serves a peer that sends data and leaves. It accepts and reads everything,
// and returns the error of the last Accept.
func serveHostile(t *testing.T, data []byte) error {
	t.Helper()
	a, b, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	server, err := Server(b, PluginPolicy)
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { _, _ = io.Copy(io.Discard, a) })
	tasks.Go(func() {
		_, _ = a.Write(data) // the server may hang up before its end
		_ = a.(*net.UnixConn).CloseWrite()
	})
	for {
		var conn net.Conn
		conn, err = server.Accept()
		if err != nil {
			break
		}
		tasks.Go(func() {
			_, _ = io.Copy(io.Discard, conn) // ends with the session at the latest
			_ = conn.Close()
		})
	}
	streamtest.CheckClose(t, server)
	tasks.Wait()
	streamtest.CheckClose(t, a)
	return err
}

func TestHostilePeer(t *testing.T) {
	for name, data := range hostile {
		t.Run(name, func(t *testing.T) {
			if err := serveHostile(t, data); err == nil {
				t.Error("the session goes on")
			}
		})
	}
}

func FuzzServer(f *testing.F) {
	for _, data := range hostile {
		f.Add(data)
	}
	f.Add(append(frame(1, 1, 1, 0), append(frame(0, 4, 1, 3), "end"...)...))
	f.Add(append(frame(2, 1, 0, 7), frame(3, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := serveHostile(t, data); err == nil {
			t.Error("the session goes on after its connection")
		}
	})
}

// headerOf is a yamux frame without data, of stream 0.
func headerOf(kind byte, flags uint16) []byte {
	b := make([]byte, frameHeaderLen)
	b[frameTypeOffset] = kind
	binary.BigEndian.PutUint16(b[frameFlags:], flags)
	return b
}

// TestForbiddenFrames sends frames that would each make this side hold something: pings,
// and streams that a plugin opens. The session ends at the first.
func TestForbiddenFrames(t *testing.T) {
	const windowUpdate = 1
	for name, tt := range map[string]struct {
		begin  func(net.Conn, Policy) (*Session, error)
		policy Policy
		frame  []byte
		ends   bool
	}{
		"the plugin pings":         {Client, HostPolicy, headerOf(framePing, flagSYN), true},
		"the plugin opens":         {Client, HostPolicy, headerOf(windowUpdate, flagSYN), true},
		"the plugin opens by data": {Client, HostPolicy, headerOf(frameData, flagSYN), true},
		"the host pings":           {Server, PluginPolicy, headerOf(framePing, flagSYN), true},
		"the host opens":           {Server, PluginPolicy, append(headerOf(windowUpdate, flagSYN)[:7], 1, 0, 0, 0, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs, err := unixPair()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			m, err := tt.begin(ours, tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range tt.frame { // also when it comes in pieces
				if _, err := theirs.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			if tt.ends {
				_, err := m.Accept()
				if !errors.Is(err, errPinged) && !errors.Is(err, errOpensOne) {
					t.Errorf("Accept: %v, want what ended the session", err)
				}
			} else if _, err := m.Accept(); err != nil {
				t.Errorf("Accept: %v", err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPolicySeesNoData(t *testing.T) {
	header := headerOf(frameData, 0)
	binary.BigEndian.PutUint32(header[frameLength:], 3*frameHeaderLen)
	data := bytes.Repeat(headerOf(framePing, flagSYN), 3)
	for _, size := range []int{1, 5, frameHeaderLen, 1000} {
		var frames frameReader
		for b := range slices.Chunk(slices.Concat(header, data, header, data), size) {
			if err := frames.read(b, HostPolicy); err != nil {
				t.Errorf("in pieces of %d: %v", size, err)
			}
		}
		if err := frames.read(headerOf(framePing, 0), HostPolicy); !errors.Is(err, errPinged) {
			t.Errorf("in pieces of %d: a ping after it: %v", size, err)
		}
	}
}

// TestOpenStreamsAreBounded opens as many streams as a session may have. The next Open
// fails, and succeeds again once a stream is closed.
func TestOpenStreamsAreBounded(t *testing.T) {
	client, server := sessions(t)
	accepted := make(chan net.Conn, MaxStreams+1)
	stopped := streamtest.Go(func() (struct{}, error) {
		for {
			conn, err := server.Accept()
			if err != nil {
				return struct{}{}, err
			}
			accepted <- conn
		}
	})
	var first [2]net.Conn
	for i := range MaxStreams {
		conn, err := client.Open(streamtest.Bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if other := streamtest.Receive(t, "the other end", accepted); i == 0 {
			first = [2]net.Conn{conn, other}
		}
	}
	if _, err := client.Open(streamtest.Bounded(t)); !errors.Is(err, errManyStreams) {
		t.Errorf("one more: %v, want %v", err, errManyStreams)
	}
	streamtest.CheckClose(t, first[0], first[1])
	for ctx := streamtest.Bounded(t); client.Streams() == MaxStreams; {
		select {
		case <-ctx.Done():
			t.Fatal("there is no room again")
		case <-time.After(time.Millisecond):
		}
	}
	if _, err := client.Open(streamtest.Bounded(t)); err != nil {
		t.Errorf("when one was closed: %v", err)
	}
	streamtest.CheckClose(t, client, server)
	streamtest.Receive(t, "the end of Accept", stopped)
}

func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
