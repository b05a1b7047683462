package session

import (
	"encoding/binary"
	"errors"
	"net"
)

// policed is the connection under a yamux session. It ends the session when the
// other side sends a frame that it has no business to: yamux starts a goroutine
// for each ping and holds each stream that it is offered, so that a flood of
// them would exhaust this process.
type policed struct {
	net.Conn
	client bool // this side opens all streams

	// What follows belongs to the goroutine of yamux that reads.
	header [frameHeaderLen]byte
	have   int    // bytes of header
	body   uint32 // bytes of data that are still to come
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

var (
	errPinged   = errors.New("the other side sent a ping, which neither does here")
	errOpensOne = errors.New("the plugin opened a stream, which only the host does")
)

// Read implements [net.Conn].
func (p *policed) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if err := p.check(b[:n]); err != nil {
		return 0, err
	}
	return n, err
}

func (p *policed) check(b []byte) error {
	for len(b) > 0 {
		if p.body > 0 {
			n := min(uint64(p.body), uint64(len(b)))
			p.body -= uint32(n) //nolint:gosec // at most body
			b = b[n:]
			continue
		}
		n := copy(p.header[p.have:], b)
		p.have += n
		b = b[n:]
		if p.have < frameHeaderLen {
			return nil
		}
		p.have = 0
		switch kind := p.header[frameTypeOffset]; {
		case kind == framePing:
			return errPinged
		case p.client && binary.BigEndian.Uint16(p.header[frameFlags:])&flagSYN != 0:
			return errOpensOne
		case kind == frameData:
			p.body = binary.BigEndian.Uint32(p.header[frameLength:])
		}
	}
	return nil
}
