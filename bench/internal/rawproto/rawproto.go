// Package rawproto is the protocol of the raw peer, the practical limit: frames with a
// length, no protobuf and no multiplexing. Each caller has a connection of its own, and
// each side a goroutine for each connection.
package rawproto

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// The operations of a request.
const (
	Unary = iota + 1
	Wait
	Compute
	Mixed
	Callback
	ServerStream
	ClientStream
)

// Header is the start of a request. For a stream it has the count and the size of the
// messages, otherwise the size of the payload, and the time to wait or to compute.
type Header struct {
	Op   byte
	A, B uint32
}

const (
	headerLen = 9

	bufferSize = 64 << 10

	// vectored is the size from which a payload is written without a copy.
	vectored = 32 << 10

	// maxFrame is far above the messages that are measured.
	maxFrame = 16 << 20
)

// Conn is a connection with buffers. It is for one goroutine.
type Conn struct {
	net.Conn

	r       *bufio.Reader
	w       *bufio.Writer
	payload []byte // of the last frame
}

// New wraps a connection.
func New(c net.Conn) *Conn {
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, bufferSize), w: bufio.NewWriterSize(c, bufferSize)}
}

// WriteHeader writes a header into the buffer.
func (c *Conn) WriteHeader(h Header) error {
	var b [headerLen]byte
	b[0] = h.Op
	binary.LittleEndian.PutUint32(b[1:], h.A)
	binary.LittleEndian.PutUint32(b[5:], h.B)
	_, err := c.w.Write(b[:])
	return err
}

// ReadHeader reads the next header.
func (c *Conn) ReadHeader() (Header, error) {
	b, err := c.r.Peek(headerLen)
	if err != nil {
		return Header{}, err
	}
	h := Header{b[0], binary.LittleEndian.Uint32(b[1:]), binary.LittleEndian.Uint32(b[5:])}
	_, err = c.r.Discard(headerLen)
	return h, err
}

// WriteFrame writes a frame into the buffer. A large payload goes past the buffer.
func (c *Conn) WriteFrame(p []byte) error {
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(len(p))) //nolint:gosec // all sizes are small
	if len(p) < vectored {
		if _, err := c.w.Write(length[:]); err != nil {
			return err
		}
		_, err := c.w.Write(p)
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	_, err := (&net.Buffers{length[:], p}).WriteTo(c.Conn)
	return err
}

// Flush writes the buffer.
func (c *Conn) Flush() error { return c.w.Flush() }

// ReadFrame returns the payload of the next frame. It is valid until the next read.
func (c *Conn) ReadFrame() ([]byte, error) {
	b, err := c.r.Peek(4)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxFrame {
		return nil, fmt.Errorf("rawproto: frame of %d bytes", n)
	}
	if _, err := c.r.Discard(4); err != nil {
		return nil, err
	}
	if cap(c.payload) < int(n) {
		c.payload = make([]byte, n)
	}
	c.payload = c.payload[:n]
	_, err = io.ReadFull(c.r, c.payload)
	return c.payload, err
}
