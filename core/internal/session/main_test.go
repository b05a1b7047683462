package session

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hang is how long a test waits before it fails.
const hang = time.Minute

// pipes is a transport within this process: its listener accepts what it dials. Its
// connections have no buffer.
type pipes struct {
	transport.Transport
	conns chan net.Conn // dialed, not yet accepted
	err   error         // of Dial

	mu  sync.Mutex // guards got
	got transport.DialConfig

	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
}

func (*pipes) Name() string { return "pipes" }

func (p *pipes) Dial(_ context.Context, cfg transport.DialConfig) (net.Conn, error) {
	p.mu.Lock()
	p.got = cfg
	p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// sockets is a transport of unix sockets.
type sockets struct {
	transport.Transport
}

func (sockets) Name() string { return "sockets" }

func (sockets) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", cfg.Address)
}

// socketConfigs returns the configurations of both sides for a unix socket.
func socketConfigs(t *testing.T, kind string) (Config, net.Listener, ListenerConfig) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Kind:        kind,
		Transport:   sockets{},
		Dial:        transport.DialConfig{Address: ln.Addr().String()},
		Credentials: secure.Plaintext(),
	}
	return cfg, ln, ListenerConfig{
		Kind:        kind,
		Credentials: secure.Plaintext(),
	}
}

// connect opens a session of that kind over a unix socket, and ends both ends
// with the test.
func connect(t *testing.T, kind string, change ...func(*Config, *ListenerConfig)) (*Session, *Listener) {
	t.Helper()
	host, ln, plugin := socketConfigs(t, kind)
	for _, f := range change {
		f(&host, &plugin)
	}
	l := NewListener(ln, plugin)
	t.Cleanup(l.End)
	s, err := Dial(bounded(t), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClose(t, s) })
	return s, l
}

// kinds are the sessions that need no transport of their own.
var kinds = []string{handshake.SessionDirect, handshake.SessionYamux}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, what string, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(hang):
		t.Fatalf("%s: nothing after %v", what, hang)
	}
	return value
}

// result is what a function returned that ran in a goroutine.
type result[T any] struct {
	value T
	err   error
}

func start[T any](f func() (T, error)) <-chan result[T] {
	done := make(chan result[T], 1)
	go func() {
		value, err := f()
		done <- result[T]{value, err}
	}()
	return done
}

func checkClose(t *testing.T, closers ...io.Closer) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("close of a %T: %v", c, err)
		}
	}
}

// checkPassing checks that a and b are the two ends of one open stream.
func checkPassing(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		const text = "what passes"
		wrote := start(func() (int, error) { return io.WriteString(from, text) })
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			t.Fatalf("read %q, %v; want %q", got, err, text)
		}
		if r := receive(t, "the write", wrote); r.err != nil {
			t.Fatal(r.err)
		}
	}
}

// checkEnded checks that the other end of conn has been closed.
func checkEnded(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(hang)) // a pipe refuses it when the other end has gone
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}
}

// await polls for a state that nothing announces.
func await(t *testing.T, otherwise string, state func() bool) {
	t.Helper()
	for ctx := bounded(t); !state(); {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise)
		case <-time.After(time.Millisecond):
		}
	}
}
