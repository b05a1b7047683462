package session

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeTransport dials into a pipe whose other end is sent on plugin.
type pipeTransport struct {
	transport.Transport
	plugin chan net.Conn
	err    error
	got    transport.DialConfig
}

func (p *pipeTransport) Dial(_ context.Context, cfg transport.DialConfig) (net.Conn, error) {
	p.got = cfg
	if p.err != nil {
		return nil, p.err
	}
	ours, theirs := net.Pipe()
	p.plugin <- theirs
	return ours, nil
}

func newPipeTransport() *pipeTransport { return &pipeTransport{plugin: make(chan net.Conn, 1)} }

func TestDialWritesThePreamble(t *testing.T) {
	tr := newPipeTransport()
	read := make(chan error, 1)
	want := Preamble{Purpose: Calls, Name: "n"}
	go func() {
		conn := <-tr.plugin
		defer conn.Close()
		p, err := ReadPreamble(conn)
		if err == nil && p != want {
			err = errors.New("another preamble arrived")
		}
		if err == nil {
			_, err = io.WriteString(conn, "hello")
		}
		read <- err
	}()
	cfg := transport.DialConfig{Version: 7, Address: "a"}
	conn, err := Dial(t.Context(), tr, cfg, want, false)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v from the connection", got, err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	if tr.got != cfg {
		t.Errorf("the transport was given %+v, want %+v", tr.got, cfg)
	}
}

// A foreign plugin's first bytes are HTTP/2's or TLS's.
func TestDialForeignWritesNothing(t *testing.T) {
	tr := newPipeTransport()
	conn, err := Dial(t.Context(), tr, transport.DialConfig{}, Preamble{Purpose: Calls}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil { // a pipe has no buffer: a write would have blocked
		t.Fatal(err)
	}
	theirs := <-tr.plugin
	defer theirs.Close()
	if got, err := io.ReadAll(theirs); err != nil || len(got) > 0 {
		t.Errorf("the plugin read %q, %v; want nothing", got, err)
	}
}

func TestDialReturnsTheTransportsError(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		tr := newPipeTransport()
		tr.err = errors.New("refused")
		conn, err := Dial(t.Context(), tr, transport.DialConfig{}, Preamble{Purpose: Calls}, foreign)
		if conn != nil || !errors.Is(err, tr.err) {
			t.Errorf("foreign %t: got %v, %v; want the transport's error", foreign, conn, err)
		}
	}
}

// A plugin that does not read never holds Dial longer than its context.
func TestDialEndsWithItsContext(t *testing.T) {
	errGivenUp := errors.New("given up")
	for name, dial := range map[string]func(ctx context.Context, tr transport.Transport) (net.Conn, error){
		"cancelled before": func(ctx context.Context, tr transport.Transport) (net.Conn, error) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(errGivenUp)
			return Dial(ctx, tr, transport.DialConfig{}, Preamble{Purpose: Calls}, false)
		},
		"while the write blocks": func(ctx context.Context, tr transport.Transport) (net.Conn, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errGivenUp)
			defer cancel()
			return Dial(ctx, tr, transport.DialConfig{}, Preamble{Purpose: Calls}, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newPipeTransport()
				conn, err := dial(t.Context(), tr)
				if conn != nil || !errors.Is(err, errGivenUp) {
					t.Errorf("got %v, %v; want the context's cause", conn, err)
				}
				theirs := <-tr.plugin
				defer theirs.Close()
				if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("the plugin's end reads %v, want EOF: the connection is still open", err)
				}
			})
		})
	}
}

// The context of Dial bounds the dial, not the connection.
func TestConnectionOutlivesDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newPipeTransport()
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan error, 1)
		go func() {
			_, err := ReadPreamble(<-tr.plugin)
			read <- err
		}()
		conn, err := Dial(ctx, tr, transport.DialConfig{}, Preamble{Purpose: Calls}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v, want a connection that is open and silent", err)
		}
	})
}

// shake runs the server's half of a handshake against a client that writes
// first, and returns what the server's half returned.
func shake(t *testing.T, creds credentials.TransportCredentials, client func(net.Conn) error) (credentials.AuthInfo, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	wrote := make(chan error, 1)
	go func() { wrote <- client(theirs) }()
	_, info, err := creds.ServerHandshake(ours)
	if err := errors.Join(ours.Close(), theirs.Close()); err != nil {
		t.Error(err)
	}
	<-wrote // may have been cut off
	return info, err
}

func preamble(p Preamble) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := p.WriteTo(conn)
		return err
	}
}

func TestAdmit(t *testing.T) {
	inner := &countingCredentials{TransportCredentials: insecure.NewCredentials()}
	creds := Admit(inner)
	info, err := shake(t, creds, preamble(Preamble{Purpose: Calls}))
	if err != nil {
		t.Fatal(err)
	}
	if info.AuthType() != "insecure" || inner.handshakes != 1 {
		t.Errorf("AuthInfo %q after %d handshakes, want that of the inner credentials", info.AuthType(), inner.handshakes)
	}
	if creds.Clone().Info() != inner.Info() {
		t.Error("Info is not that of the inner credentials")
	}
}

func TestAdmitRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client func(net.Conn) error
		want   string
	}{
		{"HTTP/2", write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ErrNoPreamble.Error()},
		{"TLS", write("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on"), ErrNoPreamble.Error()},
		{"another version", write(magic + "\x02\x01\x00\x00\x00\x00"), "preamble version 2, want 1"},
		{"a purpose that is not known", preamble(Preamble{Purpose: 2}), "preamble: purpose 2 with name \"\" is not known here"},
		{"no purpose", preamble(Preamble{}), "preamble: purpose 0 with name \"\" is not known here"},
		{"a name", preamble(Preamble{Purpose: Calls, Name: "x"}), "preamble: purpose 1 with name \"x\" is not known here"},
		{"a client that goes away", net.Conn.Close, "read preamble: EOF"},
		{"half a preamble", func(conn net.Conn) error { return errors.Join(write(magic)(conn), conn.Close()) }, "read preamble: unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := &countingCredentials{TransportCredentials: insecure.NewCredentials()}
			info, err := shake(t, Admit(inner), tt.client)
			if info != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got %v, %v; want %s", info, err, tt.want)
			}
			if inner.handshakes > 0 {
				t.Error("the inner handshake ran")
			}
		})
	}
}

func write(s string) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, s)
		return err
	}
}

type countingCredentials struct {
	credentials.TransportCredentials
	handshakes int
}

func (c *countingCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c.handshakes++
	return c.TransportCredentials.ServerHandshake(conn)
}

// grpc puts a deadline on a connection before it shakes hands.
func TestAdmitSilentConnectionEndsByItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		if err := ours.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _, err := Admit(insecure.NewCredentials()).ServerHandshake(ours)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}
