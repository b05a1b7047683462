package unix_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestDialWaitsForRoom checks that a dial waits for room in the listener's queue
// for as long as its context allows.
func TestDialWaitsForRoom(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	ln := listenWithoutQueue(t, path)
	var queued []net.Conn
	for {
		conn, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		queued = append(queued, conn)
	}
	cfg := transport.DialConfig{Version: 1, Address: path}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := unix.New().Dial(ctx, cfg)
	if want := ": the listener's queue is full: "; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
		t.Errorf("there is no room: %v, want %v with %q", err, context.DeadlineExceeded, want)
	}
	dialed := make(chan error, 1)
	go func() {
		conn, err := unix.New().Dial(t.Context(), cfg)
		if err == nil {
			err = conn.Close()
		}
		dialed <- err
	}()
	for range len(queued) + 1 {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if err := <-dialed; err != nil {
		t.Errorf("there is room again: %v", err)
	}
	for _, conn := range queued {
		_ = conn.Close()
	}
}

// listenWithoutQueue returns a listener with the shortest queue that there is.
func listenWithoutQueue(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	if err := ln.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return ln.(*net.UnixListener)
}
