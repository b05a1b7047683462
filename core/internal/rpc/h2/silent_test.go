package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
)

// TestConnectIsBoundedByItsContext connects to a plugin that accepts and is silent. No limit
// of grpc comes before the caller's.
func TestConnectIsBoundedByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 5 * time.Minute
		ours, theirs := net.Pipe()
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, theirs)
			read <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		_, err := h2.Connect(ctx, calls.ClientConfig{
			Side:           "host",
			Other:          "plugin",
			MaxMessageSize: calls.DefaultMaxMessageSize,
			IsControl:      func(string) bool { return false },
		}, h2.Link{Stream: plainStream(ours)})
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != limit {
			t.Errorf("Connect = %v after %v, want %v after %v", err, took, context.DeadlineExceeded, limit)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		if err := theirs.Close(); err != nil {
			t.Error(err)
		}
	})
}

// oneStream is a listener that yields one connection.
type oneStream struct {
	net.Listener
	conn   chan net.Conn
	closed chan struct{}
}

func (o oneStream) Accept() (net.Conn, error) {
	select {
	case conn := <-o.conn:
		return conn, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

func (o oneStream) Close() error {
	close(o.closed)
	return nil
}

func (o oneStream) Addr() net.Addr { return &net.UnixAddr{Name: "silent", Net: "unix"} }

// What a client begins HTTP/2 with (RFC 9113, sections 3.4 and 6).
const (
	preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	settings    = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	settingsAck = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
	halfHeaders = "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82" // more is to follow
)

// TestEndWithIdleStreams opens streams for calls that stay silent, some after a few bytes.
// Neither Stop nor Close waits for them.
func TestEndWithIdleStreams(t *testing.T) {
	ends := map[string]func(ctx context.Context, p *h2.Server) error{
		"Stop":  func(ctx context.Context, p *h2.Server) error { return p.Stop(ctx, 0) },
		"Close": func(_ context.Context, p *h2.Server) error { p.Close(); return nil },
	}
	for end, by := range ends {
		for name, said := range map[string]string{
			"silent":             "",
			"half a preface":     preface[:10],
			"no settings":        preface,
			"half settings":      preface + settings[:5],
			"no acknowledgement": preface + settings,
			"no ping":            preface + settings + settingsAck,
			"half headers":       preface + settings + settingsAck + halfHeaders,
		} {
			t.Run(end+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testEndWithIdleStream(t, by, said) })
			})
		}
	}
}

func testEndWithIdleStream(t *testing.T, end func(context.Context, *h2.Server) error, said string) {
	t.Helper()
	ours, theirs := net.Pipe()
	ln := oneStream{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	ln.conn <- ours
	p, err := h2.NewServer(calls.ServerConfig{
		Side:           "plugin",
		Other:          "host",
		MaxMessageSize: calls.DefaultMaxMessageSize,
		Application:    func(grpc.ServiceRegistrar) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	served, read := make(chan error, 1), make(chan error, 1)
	go func() { served <- p.Serve(streamListener{ln}) }()
	go func() {
		_, err := io.Copy(io.Discard, theirs)
		read <- err
	}()
	if _, err := io.WriteString(theirs, said); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if len(ln.conn) > 0 {
		t.Fatal("the stream was not accepted")
	}
	began := time.Now()
	if err := end(t.Context(), p); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 0 {
		t.Errorf("it took %v", took)
	}
	if err := <-read; err != nil {
		t.Errorf("the stream was not closed: %v", err)
	}
	if err := theirs.Close(); err != nil {
		t.Error(err)
	}
	p.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestIdleStreamsThatEnd opens and closes many streams without calls, on plain sockets and
// on other connections. None is kept.
func TestIdleStreamsThatEnd(t *testing.T) {
	t.Parallel()
	const count = 1000
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"socket": func(conn net.Conn) net.Conn { return conn },
		"other":  func(conn net.Conn) net.Conn { return struct{ net.Conn }{conn} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, &service{}, func(_ *clientConfig, server *serverConfig) {
				server.Listener = wrapping{server.Listener, wrap}
			})
			most := 0
			for range count {
				conn, err := net.Dial("tcp", p.conn.RemoteAddr().String())
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.WriteString(conn, preface+settings)
				if err == nil {
					_, err = io.ReadFull(conn, make([]byte, 9)) // it serves
				}
				if err := errors.Join(err, conn.Close()); err != nil {
					t.Fatal(err)
				}
				most = max(most, h2.IdleConns(p.server))
			}
			if most > count/2 {
				t.Errorf("%d of %d were kept", most, count)
			}
		})
	}
}

// wrapping is a listener of wrapped connections.
type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (w wrapping) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return w.wrap(conn), nil
}
