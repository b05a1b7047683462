package mux

import (
	"encoding/binary"
	"errors"
	"net"
)

// Frame is what a [Policy] sees of a frame that the other side sent.
type Frame struct {
	Type  byte
	Flags uint16
}

// IsPing reports whether the frame is a ping, or the answer to one.
func (f Frame) IsPing() bool { return f.Type == framePing }

// OpensStream reports whether the frame begins a stream.
func (f Frame) OpensStream() bool { return f.Type != framePing && f.Flags&flagSYN != 0 }

// Policy judges each frame of the other side, in order. An error ends the session. yamux
// starts a goroutine for each ping and holds each stream that the other side opens, so a
// flood of such frames would exhaust this process. The session calls its policy from one
// goroutine.
type Policy func(Frame) error

var (
	errPinged   = errors.New("the other side sent a ping, which neither side does here")
	errOpensOne = errors.New("the plugin opened a stream, which only the host does")
)

// HostPolicy is for a host whose plugin neither pings nor opens streams.
func HostPolicy(f Frame) error {
	if f.OpensStream() {
		return errOpensOne
	}
	return PluginPolicy(f)
}

// PluginPolicy is for a plugin whose host opens streams and never pings.
func PluginPolicy(f Frame) error {
	if f.IsPing() {
		return errPinged
	}
	return nil
}

// The header of a frame (yamux's spec.md): version, type, flags, stream, length.
const (
	frameHeaderLen  = 12
	frameTypeOffset = 1
	frameFlags      = 2
	frameLength     = 8

	frameData = 0
	framePing = 2

	flagSYN = 1
)

// inspectedConn shows the frames that it reads to a policy.
type inspectedConn struct {
	net.Conn
	policy Policy
	frames frameReader // belongs to yamux's reading goroutine
}

// Read implements [net.Conn].
func (c *inspectedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err := c.frames.read(b[:n], c.policy); err != nil {
		return 0, err
	}
	return n, err
}

// frameReader finds the headers of frames in a sequence of reads.
type frameReader struct {
	header [frameHeaderLen]byte
	have   int    // bytes of header that were read
	body   uint32 // bytes of data before the next header
}

// read reads b, and shows each frame that begins in it to policy.
func (r *frameReader) read(b []byte, policy Policy) error {
	for len(b) > 0 {
		if r.body > 0 {
			n := min(uint64(r.body), uint64(len(b)))
			r.body -= uint32(n) //nolint:gosec // at most body
			b = b[n:]
			continue
		}
		n := copy(r.header[r.have:], b)
		r.have += n
		b = b[n:]
		if r.have < frameHeaderLen {
			return nil
		}
		r.have = 0
		f := Frame{Type: r.header[frameTypeOffset], Flags: binary.BigEndian.Uint16(r.header[frameFlags:])}
		if err := policy(f); err != nil {
			return err
		}
		if f.Type == frameData {
			r.body = binary.BigEndian.Uint32(r.header[frameLength:])
		}
	}
	return nil
}
