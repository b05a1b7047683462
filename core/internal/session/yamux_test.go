package session

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

// newMuxes returns both ends of a yamux session over such a connection.
func newMuxes(conns func() (net.Conn, net.Conn, error)) (client, server *mux, err error) {
	a, b, err := conns()
	if err != nil {
		return nil, nil, err
	}
	client, err = newMuxClient(a)
	if err != nil {
		return nil, nil, err
	}
	server, err = newMuxServer(b)
	return client, server, err
}

// muxes are ended with the test.
func muxes(t *testing.T) (client, server *mux) {
	t.Helper()
	client, server, err := newMuxes(unixPair)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClose(t, client, server) })
	return client, server
}

// openMux opens a stream.
func openMux(t *testing.T, client, server *mux) (a, b *muxStream) {
	t.Helper()
	opened, err := client.open(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*muxStream), accepted.(*muxStream)
}

func TestYamuxConn(t *testing.T) {
	for name, conns := range map[string]func() (net.Conn, net.Conn, error){"unix": unixPair, "pipe": netPipe} {
		for _, swap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s swapped %t", name, swap), func(t *testing.T) {
				nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
					client, server, err := newMuxes(conns)
					if err != nil {
						return nil, nil, nil, err
					}
					c1, err := client.open(t.Context())
					if err != nil {
						return nil, nil, nil, err
					}
					c2, err := server.Accept()
					if swap {
						c1, c2 = c2, c1
					}
					return c1, c2, func() { checkClose(t, c1, c2, client, server) }, err
				})
			})
		}
	}
}

// CloseWrite ends one direction.
func TestYamuxHalfClose(t *testing.T) {
	client, server := muxes(t)
	a, b := openMux(t, client, server)
	for _, ends := range [][2]*muxStream{{a, b}, {b, a}} {
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
	checkClose(t, a, b)
}

// What was written before Close is read; after it nothing goes either way.
func TestYamuxClose(t *testing.T) {
	client, server := muxes(t)
	a, b := openMux(t, client, server)
	if _, err := io.WriteString(a, "the last"); err != nil {
		t.Fatal(err)
	}
	reading := start(func() (int, error) { return a.Read(make([]byte, 1)) })
	checkClose(t, a, a)
	if r := receive(t, "the read", reading); !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("the read that Close met: %v, want %v", r.err, net.ErrClosed)
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
	checkClose(t, b)
	eventuallyNoStreams(t, client, server)
}

// eventuallyNoStreams polls, as nothing tells of the end of a stream.
func eventuallyNoStreams(t *testing.T, sides ...*mux) {
	t.Helper()
	ctx := bounded(t)
	for _, m := range sides {
		for m.session.NumStreams() > 0 {
			select {
			case <-ctx.Done():
				t.Fatalf("%d streams are left", m.session.NumStreams())
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// A writer whose reader has closed the stream does not wait for ever, and costs
// the reader no memory.
func TestYamuxWriteToAClosedStream(t *testing.T) {
	client, server := muxes(t)
	for _, waiting := range []bool{false, true} {
		a, b := openMux(t, client, server)
		const size = 16 * muxWindow
		wrote := start(func() (int, error) { return a.Write(make([]byte, size)) })
		if waiting {
			if _, err := io.CopyN(io.Discard, b, muxWindow); err != nil {
				t.Fatal(err)
			}
		}
		checkClose(t, b)
		if r := receive(t, "the write", wrote); r.err != nil || r.value != size {
			t.Errorf("%d bytes were written, %v; want %d", r.value, r.err, size)
		}
		checkEnded(t, a)
		checkClose(t, a)
	}
	eventuallyNoStreams(t, client, server)
}

func TestYamuxDeadlines(t *testing.T) {
	client, server := muxes(t)
	a, b := openMux(t, client, server)
	if err := a.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if n, err := a.Write(make([]byte, 2*muxWindow)); !errors.Is(err, os.ErrDeadlineExceeded) || n > muxWindow {
		t.Errorf("%d bytes written, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	// What has come already is not read after the deadline either.
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
	checkClose(t, a, b)
}

// A stream that nobody reads holds no more than its window, and no other up.
func TestYamuxUnreadStream(t *testing.T) {
	client, server := muxes(t)
	unread, other := openMux(t, client, server)
	busy, busyEnd := openMux(t, client, server)
	if n, err := unread.Write(make([]byte, muxWindow)); err != nil {
		t.Fatalf("%d bytes were taken from a writer whom nobody reads, %v; want %d", n, err, muxWindow)
	}
	more := start(func() (int, error) { return unread.Write(make([]byte, 7*muxWindow)) })
	const size = 16 * muxWindow
	data := make([]byte, size)
	_, _ = rand.Read(data)
	wrote := start(func() (int, error) { return busy.Write(data) })
	got := make([]byte, size)
	if _, err := io.ReadFull(busyEnd, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the stream beside it: %v, equal %t", err, bytes.Equal(got, data))
	}
	if r := receive(t, "the write", wrote); r.err != nil {
		t.Error(r.err)
	}
	if err := unread.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, "the write that nobody reads", more); r.value != 0 || !errors.Is(r.err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes more were taken, %v; want none until its deadline", r.value, r.err)
	}
	if n, err := io.CopyN(io.Discard, other, muxWindow); err != nil {
		t.Errorf("%d of the unread bytes were read later: %v", n, err)
	}
	checkClose(t, unread, other, busy, busyEnd)
}

func TestYamuxManyStreams(t *testing.T) {
	const streams, atOnce = 2000, 100
	client, server := muxes(t)
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
	ctx := bounded(t)
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
		if err := receive(t, "a caller", errs); err != nil {
			t.Error(err)
		}
	}
	if err := receive(t, "the echo", echoed); err != nil {
		t.Error(err)
	}
	eventuallyNoStreams(t, client, server)
}

// echo opens a stream and has text come back on it.
func echo(ctx context.Context, client *mux, text []byte) error {
	conn, err := client.open(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(text); err != nil {
		return err
	}
	if err := conn.(*muxStream).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && !bytes.Equal(got, text) {
		err = fmt.Errorf("%q came back for %q", got, text)
	}
	return err
}

// Nobody accepts: open waits no longer than its context.
func TestYamuxOpenEndsWithItsContext(t *testing.T) {
	errGivenUp := errors.New("given up")
	client, server := muxes(t)
	for range muxBacklog {
		if _, err := client.open(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errGivenUp)
	defer cancel()
	if conn, err := client.open(ctx); conn != nil || !errors.Is(err, errGivenUp) {
		t.Errorf("got %v, %v; want the context's cause", conn, err)
	}
	for range muxBacklog {
		if _, err := server.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := client.open(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	checkClose(t, conn)
}

// While the other side accepts nothing, who gives up leaves a goroutine behind only
// so many times, and then none; who waits for a turn ends with the session.
func TestYamuxOpenIsBounded(t *testing.T) {
	client, server := muxes(t)
	for range muxBacklog {
		if _, err := client.open(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var first sync.WaitGroup
	for range muxOpening {
		first.Go(func() { _, _ = client.open(ctx) })
	}
	for bound := bounded(t); len(client.opening) < muxOpening; {
		select {
		case <-bound.Done():
			t.Fatalf("%d streams are being opened, want %d", len(client.opening), muxOpening)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	first.Wait()
	before := runtime.NumGoroutine()
	const more = 100
	for range more {
		if conn, err := client.open(ctx); conn != nil || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, %v; want %v", conn, err, context.Canceled)
		}
	}
	if n := runtime.NumGoroutine() - before; n > more/10 {
		t.Errorf("%d who gave up left %d goroutines", more, n)
	}
	waiting := start(func() (net.Conn, error) { return client.open(t.Context()) })
	checkClose(t, server)
	if r := receive(t, "the one that waits", waiting); r.value != nil || !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("got %v, %v; want %v", r.value, r.err, net.ErrClosed)
	}
}

// The end of the session ends what waits on its streams, on both sides.
func TestYamuxSessionCloses(t *testing.T) {
	client, server := muxes(t)
	a, b := openMux(t, client, server)
	accepting := start(server.Accept)
	reads := []<-chan result[int]{
		start(func() (int, error) { return a.Read(make([]byte, 1)) }),
		start(func() (int, error) { return b.Read(make([]byte, 1)) }),
	}
	writes := []<-chan result[int]{
		start(func() (int, error) { return a.Write(make([]byte, 2*muxWindow)) }),
	}
	checkClose(t, client, client)
	for _, r := range reads {
		if r := receive(t, "a read", r); r.err == nil {
			t.Error("a read succeeded")
		}
	}
	for _, w := range writes {
		if r := receive(t, "a write", w); !errors.Is(r.err, net.ErrClosed) {
			t.Errorf("a write: %v, want %v", r.err, net.ErrClosed)
		}
	}
	if r := receive(t, "Accept", accepting); r.err == nil {
		t.Error("Accept succeeded")
	}
	if conn, err := client.open(bounded(t)); conn != nil || !errors.Is(err, errEnded) {
		t.Errorf("open after Close: %v, %v; want %v", conn, err, errEnded)
	}
	if conn, err := client.Accept(); conn != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, %v; want %v", conn, err, net.ErrClosed)
	}
	if _, err := a.Write([]byte{0}); !errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "\n") {
		t.Errorf("write after the session's Close: %q, want %v on one line", err, net.ErrClosed)
	}
	checkClose(t, a, b)
}

// A peer that reads nothing at all, as one that a debugger holds, keeps neither
// the Close of a stream nor that of the session waiting.
func TestYamuxCloseWithAPeerThatReadsNothing(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	client, err := newMuxClient(ours)
	if err != nil {
		t.Fatal(err)
	}
	opening := start(func() (net.Conn, error) { return client.open(t.Context()) })
	if _, err := io.ReadFull(theirs, make([]byte, frameLen)); err != nil { // the stream's first frame
		t.Fatal(err)
	}
	r := receive(t, "open", opening)
	if r.err != nil {
		t.Fatal(r.err)
	}
	wrote := start(func() (int, error) { return r.value.Write([]byte{0}) })
	closed := start(func() (any, error) { return nil, errors.Join(r.value.Close(), client.close()) })
	if r := receive(t, "Close", closed); r.err != nil {
		t.Error(r.err)
	}
	if r := receive(t, "the write", wrote); !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("the write: %v, want %v", r.err, net.ErrClosed)
	}
}

// held is a connection whose Read waits, but for one that has begun.
type held struct {
	net.Conn
	proceed atomic.Pointer[chan struct{}] // nil: nothing waits
}

func (h *held) Read(b []byte) (int, error) {
	if proceed := h.proceed.Load(); proceed != nil {
		<-*proceed
	}
	return h.Conn.Read(b)
}

// What a side sent before it went away is read, also when this side has found out
// by writing to it that it is no longer there.
func TestYamuxLastOfASideThatIsGone(t *testing.T) {
	ours, theirs, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	conn := &held{Conn: ours}
	client, err := newMuxClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	server, err := newMuxServer(theirs)
	if err != nil {
		t.Fatal(err)
	}
	a, b := openMux(t, client, server)
	proceed := make(chan struct{})
	conn.proceed.Store(&proceed)
	const size = 32 << 10 // which the system holds, and yamux does not in one Read
	if _, err := b.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	checkClose(t, b, server)
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
	checkClose(t, client)
}

// A side that takes nothing any more and does not go either ends the session all
// the same. (yamux shares its timers, so that it cannot take part.)
func TestYamuxSideThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		released := false
		conn := &muxConn{Conn: &refusing{ours}, release: func() { released = true }}
		began := time.Now()
		for range 2 {
			if n, err := conn.Write([]byte("data")); n != 4 || err != nil {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
			time.Sleep(muxLastTimeout / 2)
		}
		if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v; want %v", n, err, os.ErrDeadlineExceeded)
		}
		if took := time.Since(began); took != muxLastTimeout || !released {
			t.Errorf("Read ended after %v, want %v; who waits was released: %t", took, muxLastTimeout, released)
		}
		checkClose(t, conn, theirs)
	})
}

// A session that ended with its connection, for a reason that says that it may pass,
// is not waited for: nobody would accept its streams, nor forget it.
func TestYamuxEndIsForGood(t *testing.T) {
	ours, theirs, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	defer checkClose(t, theirs)
	if err := ours.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	server, err := newMuxServer(ours)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || isTemporary(err) {
		t.Errorf("Accept: %v, may pass: %t; want %v for good", err, isTemporary(err), os.ErrDeadlineExceeded)
	}
	checkClose(t, server)
}

// refusing is a connection that writes nothing.
type refusing struct{ net.Conn }

func (*refusing) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// closing is a connection whose Close waits.
type closing struct {
	net.Conn
	proceed chan struct{}
}

func (c *closing) Close() error {
	<-c.proceed
	return c.Conn.Close()
}

// Who waits for a stream is released as the session begins to end, and not when
// yamux has come to that stream: until then it has them turn in a loop.
func TestYamuxEndReleasesAtOnce(t *testing.T) {
	ours, theirs, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	conn := &closing{ours, make(chan struct{})}
	client, err := newMuxClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	server, err := newMuxServer(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer checkClose(t, server)
	a, _ := openMux(t, client, server)
	gone, _ := openMux(t, client, server)
	checkClose(t, gone) // what still comes on it is thrown away, until the end
	read := start(func() (int, error) { return a.Read(make([]byte, 1)) })
	wrote := start(func() (int, error) { return a.Write(make([]byte, 2*muxWindow)) })
	closed := start(func() (any, error) { return nil, client.close() })
	if r := receive(t, "the read", read); !errors.Is(r.err, io.EOF) {
		t.Errorf("the read: %v, want %v", r.err, io.EOF)
	}
	if r := receive(t, "the write", wrote); !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("the write: %v, want %v", r.err, net.ErrClosed)
	}
	receive(t, "the one who throws away", start(func() (any, error) { client.tasks.Wait(); return nil, nil }))
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Error(err)
	}
	if n, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}
	close(conn.proceed)
	if r := receive(t, "Close", closed); r.err != nil {
		t.Error(r.err)
	}
}

// They are released before yamux begins to end the session, whoever ends it: after
// that they turn in a loop, and keep the processor from who would release them.
func TestYamuxEndReleasesFirst(t *testing.T) {
	for name, end := range map[string]func(client, server *mux) error{
		"by this side":      func(client, _ *mux) error { return client.close() },
		"by the other side": func(_, server *mux) error { return server.close() },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := muxes(t)
			a, _ := openMux(t, client, server)
			a.mu.Lock() // the release has to wait for this
			ended := start(func() (any, error) { return nil, end(client, server) })
			for ctx := bounded(t); !client.isEnded(); {
				select {
				case <-ctx.Done():
					t.Fatal("nothing is released")
				case <-time.After(time.Millisecond):
				}
			}
			if client.session.IsClosed() {
				t.Error("yamux has begun to end the session")
			}
			a.mu.Unlock()
			if r := receive(t, "the end", ended); r.err != nil {
				t.Error(r.err)
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the read: %v, want %v", err, io.EOF)
			}
		})
	}
}

func (m *mux) isEnded() bool {
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

// hostile are what a peer may send that it should not.
var hostile = map[string][]byte{
	"not yamux":            []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	"unknown kind":         frame(9, 0, 1, 0),
	"the same stream":      append(frame(1, 1, 1, 0), frame(1, 1, 1, 0)...),
	"more than the window": append(append(frame(1, 1, 1, 0), frame(0, 0, 1, 1<<31)...), make([]byte, 1<<10)...),
	"an end twice":         append(append(frame(1, 1, 1, 0), frame(1, 4, 1, 0)...), frame(1, 4, 1, 0)...),
	"half a frame":         frame(0, 1, 1, 100),
}

// serveHostile has a server read data from a peer that then leaves, with
// everything accepted and read, and returns how its Accept ended.
func serveHostile(t *testing.T, data []byte) error {
	t.Helper()
	a, b, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	server, err := newMuxServer(b)
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
	checkClose(t, server)
	tasks.Wait()
	checkClose(t, a)
	return err
}

func TestYamuxHostilePeer(t *testing.T) {
	for name, data := range hostile {
		t.Run(name, func(t *testing.T) {
			if err := serveHostile(t, data); err == nil {
				t.Error("the session goes on")
			}
		})
	}
}

func FuzzYamuxServer(f *testing.F) {
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

// A side that pings, or a plugin that opens streams, would have this side hold
// something for each: the session ends at the first.
func TestYamuxFramesThatNobodySends(t *testing.T) {
	const windowUpdate = 1
	for name, tt := range map[string]struct {
		mux   func(net.Conn) (*mux, error)
		frame []byte
		ends  bool
	}{
		"the plugin pings":         {newMuxClient, headerOf(framePing, flagSYN), true},
		"the plugin opens":         {newMuxClient, headerOf(windowUpdate, flagSYN), true},
		"the plugin opens by data": {newMuxClient, headerOf(frameData, flagSYN), true},
		"the host pings":           {newMuxServer, headerOf(framePing, flagSYN), true},
		"the host opens":           {newMuxServer, append(headerOf(windowUpdate, flagSYN)[:7], 1, 0, 0, 0, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs, err := unixPair()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			m, err := tt.mux(ours)
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
			if err := m.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPoliceLooksIntoNoData(t *testing.T) {
	header := headerOf(frameData, 0)
	binary.BigEndian.PutUint32(header[frameLength:], 3*frameHeaderLen)
	data := bytes.Repeat(headerOf(framePing, flagSYN), 3)
	for _, size := range []int{1, 5, frameHeaderLen, 1000} {
		p := &policed{client: true}
		for b := range slices.Chunk(slices.Concat(header, data, header, data), size) {
			if err := p.frames.check(b, p.allow); err != nil {
				t.Errorf("in pieces of %d: %v", size, err)
			}
		}
		if err := p.frames.check(headerOf(framePing, 0), p.allow); !errors.Is(err, errPinged) {
			t.Errorf("in pieces of %d: a ping after it: %v", size, err)
		}
	}
}
