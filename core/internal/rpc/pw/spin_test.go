package pw

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
)

func TestSpinnerSeesBytes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there the reader does not look")
	}
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	readable := func(c net.Conn) (is bool) {
		raw, err := c.(*net.UnixConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { is = isReadable(fd) }); err != nil {
			t.Fatal(err)
		}
		return is
	}
	if readable(a) {
		t.Error("bytes are there, and nobody has sent any")
	}
	if _, err := b.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if !readable(a) {
		t.Error("the byte that was sent is not seen")
	}
	if _, err := a.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if readable(a) {
		t.Error("the byte is still seen after it was read")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if !readable(a) {
		t.Error("the end of the connection is not seen")
	}
}

// socket is a [syscall.RawConn] without a socket.
type socket struct{}

func (socket) Control(f func(uintptr)) error  { f(0); return nil }
func (socket) Read(func(uintptr) bool) error  { return nil }
func (socket) Write(func(uintptr) bool) error { return nil }

func TestSpinnerThatFindsNothingLooksRarely(t *testing.T) {
	looks := 0
	s := &spinner{raw: socket{}}
	s.look = func(uintptr) { looks++ }
	const reads = 100 * rarely
	for range reads {
		s.spin()
	}
	if most := 100 + 16; looks > most {
		t.Errorf("%d reads in vain looked %d times, more than %d", reads, looks, most)
	}
	s.look = func(uintptr) { looks++; s.found = true }
	for range rarely + 1 {
		s.spin()
	}
	looks = 0
	for range 100 {
		s.spin()
	}
	if looks != 100 {
		t.Errorf("of 100 reads, %d looked, though bytes come at once", looks)
	}
}

func TestMethodIsQuick(t *testing.T) {
	m := newMethod("/s/m")
	m.entry.Unary = func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) { return nil, nil }
	if m.isQuick(true) {
		t.Error("a method that nobody has called is quick")
	}
	run := func(n int, d time.Duration) {
		for range n {
			m.ran(d)
		}
	}
	run(100, time.Microsecond)
	if !m.isQuick(false) {
		t.Error("a method is slow after 100 quick handlers")
	}
	m.ran(2 * quickTime)
	if m.isQuick(false) {
		t.Error("a method is quick for many calls right after a slow handler")
	}
	if !m.isQuick(true) {
		t.Error("one slow handler of 100 makes a method slow for a call that is alone")
	}
	run(mostQuickRuns, time.Microsecond)
	if !m.isQuick(false) {
		t.Errorf("a method is slow after %d quick handlers", mostQuickRuns)
	}
	m.slow()
	if m.isQuick(true) || m.isQuick(false) {
		t.Error("a method is quick whose handler has just kept the role")
	}
	run(mostQuickRuns, 2*quickTime)
	if m.isQuick(true) {
		t.Error("a method is quick whose handlers all take long")
	}
}
