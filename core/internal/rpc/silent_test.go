package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// TestConnectIsBoundedByItsContext has a plugin that accepts and says nothing:
// no limit of grpc's own comes before the caller's.
func TestConnectIsBoundedByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 5 * time.Minute
		ours, theirs := net.Pipe()
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, theirs)
			read <- err
		}()
		p, err := rpc.New(rpc.Config{
			Side:              "host",
			Other:             "plugin",
			MaxMessageSize:    rpc.DefaultMaxMessageSize,
			Conn:              ours,
			ClientCredentials: secure.Plaintext(),
			IsControl:         func(string) bool { return false },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		err = p.Connect(ctx)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != limit {
			t.Errorf("Connect = %v after %v, want %v after %v", err, took, context.DeadlineExceeded, limit)
		}
		p.Close()
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

// TestStopWithASilentStream has a host that has opened its stream for calls and
// never begins HTTP/2: it holds Stop up for as long as it may take to begin.
func TestStopWithASilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ln := oneStream{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		ln.conn <- ours
		p, err := rpc.New(rpc.Config{
			Side:                "plugin",
			Other:               "host",
			MaxMessageSize:      rpc.DefaultMaxMessageSize,
			Listener:            ln,
			ServerCredentials:   secure.Plaintext(),
			RegisterApplication: func(grpc.ServiceRegistrar) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- p.Serve() }()
		synctest.Wait()
		if len(ln.conn) > 0 {
			t.Fatal("the stream was not accepted")
		}
		const most = 10 * time.Second
		began := time.Now()
		if err := p.Stop(t.Context(), 0); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if took := time.Since(began); took > most {
			t.Errorf("Stop took %v, more than the %v that a stream may take to begin", took, most)
		}
		if _, err := io.Copy(io.Discard, theirs); err != nil {
			t.Errorf("the silent stream was not closed: %v", err)
		}
		if err := theirs.Close(); err != nil {
			t.Error(err)
		}
		p.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}
