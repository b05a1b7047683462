package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// TestConnector makes connections for code of its own, both ways.
func TestConnector(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			unlink := join(host, plugin)
			for _, sides := range [][2]*Broker{{host, plugin}, {plugin, host}} {
				id := sides[0].NextID()
				ln, err := sides[0].Listen(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					exchange(t, ln, sides[1], id)
				}
				if err := errors.Join(ln.Close(), ln.Close()); err != nil {
					t.Error(err)
				}
				if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept after Close: %v", err)
				}
			}
			ln, err := host.Listen(t.Context(), 77)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := host.Listen(t.Context(), 77); !errors.Is(err, errIDInUse) {
				t.Errorf("the same id: %v", err)
			}
			reason := errors.New("the plugin has crashed")
			host.Close(reason)
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept after the end: %v", err)
			}
			if _, err := host.Listen(t.Context(), 78); !errors.Is(err, reason) {
				t.Errorf("Listen after the end: %v", err)
			}
			if _, err := host.Connect(t.Context(), 78); !errors.Is(err, reason) {
				t.Errorf("Connect after the end: %v", err)
			}
			plugin.Close(reason)
			unlink()
		})
	}
}

// exchange says something on a connection.
func exchange(t *testing.T, ln net.Listener, from *Broker, id uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	accepted := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			_, err = conn.Write([]byte("hello"))
			err = errors.Join(err, conn.Close())
		}
		accepted <- err
	}()
	conn, err := from.Connect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if err := errors.Join(err, conn.Close(), <-accepted); err != nil || string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
}
