package rawproto

import (
	"bytes"
	"errors"
	"net"
	"testing"
)

// TestFrames sends headers and frames of all sizes that are written differently.
func TestFrames(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	sent := make(chan error, 1)
	go func() {
		c := New(a)
		for _, size := range []int{0, 64, vectored, 1 << 20} {
			if err := errors.Join(c.WriteHeader(Header{Unary, uint32(size), 7}), c.WriteFrame(bytes.Repeat([]byte{1}, size)), c.Flush()); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	c := New(b)
	for _, size := range []int{0, 64, vectored, 1 << 20} {
		h, err := c.ReadHeader()
		if err != nil || h != (Header{Unary, uint32(size), 7}) {
			t.Fatalf("header %+v, %v", h, err)
		}
		p, err := c.ReadFrame()
		if err != nil || !bytes.Equal(p, bytes.Repeat([]byte{1}, size)) {
			t.Fatalf("frame of %d bytes, %v, want %d", len(p), err, size)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestLongFrame checks that a length is refused before there is memory for it.
func TestLongFrame(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	go func() { _, _ = a.Write([]byte{0xff, 0xff, 0xff, 0xff}) }() // ends with the pipe
	if _, err := New(b).ReadFrame(); err == nil {
		t.Error("a frame of 4 GiB is accepted")
	}
}
