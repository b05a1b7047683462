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
	"google.golang.org/grpc/credentials"

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
			Credentials:    secure.Plaintext(),
			MaxMessageSize: rpc.DefaultMaxMessageSize,
			Conn:           ours,
			IsControl:      func(string) bool { return false },
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

// noticed tells of connections that are about to say who they are.
type noticed struct {
	credentials.TransportCredentials
	begun chan<- struct{}
}

func (n noticed) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	n.begun <- struct{}{}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return nil, nil, err
	}
	return n.TransportCredentials.ServerHandshake(conn)
}

// TestStopEndsHandshakes has a connection that never says who it is.
func TestStopEndsHandshakes(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{}, 1)
	p, err := rpc.New(rpc.Config{
		Credentials:         noticed{secure.Plaintext(), begun},
		MaxMessageSize:      rpc.DefaultMaxMessageSize,
		Listener:            ln,
		RegisterApplication: func(grpc.ServiceRegistrar) {},
		RegisterControl:     func(rpc.Registrar) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve() }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	receive(t, "the handshake", begun)
	began := time.Now()
	if err := p.Stop(bounded(t), hang); err != nil {
		t.Errorf("Stop: %v", err)
	}
	const most = 5 * time.Second // half of what a handshake may take
	if took := time.Since(began); took > most {
		t.Errorf("Stop took %v", took)
	}
	p.Close()
	if err := receive(t, "the end of Serve", served); err != nil {
		t.Errorf("Serve: %v", err)
	}
}
