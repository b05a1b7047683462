package session

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/streamtest"
	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	s, err := Dial(streamtest.Bounded(t), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { streamtest.CheckClose(t, s) })
	return s, l
}

// kinds are the sessions that need no transport of their own.
var kinds = []string{handshake.SessionDirect, handshake.SessionYamux}

// await polls for a state that nothing announces.
func await(t *testing.T, otherwise string, state func() bool) {
	t.Helper()
	for ctx := streamtest.Bounded(t); !state(); {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise)
		case <-time.After(time.Millisecond):
		}
	}
}
