package rpc

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/credentials"

	"github.com/plugwire/plugwire/core/internal/secure"
)

// afterByte authenticates a connection once it has sent a byte.
type afterByte struct {
	credentials.TransportCredentials
}

func (a afterByte) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return nil, nil, err
	}
	return a.TransportCredentials.ServerHandshake(conn)
}

// TestHandshakesAreBounded has as many silent connections as there may be: one
// more is refused, until one of them has gone.
func TestHandshakesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		creds := newHandshakes(afterByte{secure.Plaintext()})
		var silent []net.Conn
		ended := make(chan error, maxPending)
		for range maxPending {
			ours, theirs := net.Pipe()
			defer ours.Close()
			silent = append(silent, theirs)
			go func() {
				_, _, err := creds.ServerHandshake(ours)
				ended <- err
			}()
		}
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatalf("%d of %d connections did not wait: %v", len(ended), maxPending, <-ended)
		}
		if err := shakeOnce(t, creds); err == nil || !strings.Contains(err.Error(), "more than 64 connections") {
			t.Errorf("the connection after the last: got %v, want it refused", err)
		}
		if err := silent[0].Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := shakeOnce(t, creds); err != nil {
			t.Errorf("after one has gone: %v", err)
		}
		for _, conn := range silent[1:] {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// shakeOnce is a connection that says who it is at once.
func shakeOnce(t *testing.T, creds credentials.TransportCredentials) error {
	t.Helper()
	ours, theirs := net.Pipe()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = theirs.Write([]byte{1}) // fails if the connection is refused unread
	}()
	_, _, err := creds.ServerHandshake(ours)
	for _, conn := range []net.Conn{ours, theirs} {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	<-wrote
	return err
}
