package session

import (
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// frames reads the headers of yamux's frames as they go by, one Read after
// another.
type frames struct {
	header [frameHeaderLen]byte
	have   int    // bytes of header
	body   uint32 // bytes of data that are still to come
}

// policed is the connection under a yamux session. It ends the session when the
// other side sends a frame that it has no business to: yamux starts a goroutine
// for each ping and holds each stream that it is offered, so that a flood of
// them would exhaust this process.
type policed struct {
	net.Conn
	client bool   // this side opens all streams
	frames frames // belongs to the goroutine of yamux that reads
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
	if err := p.frames.check(b[:n], p.allow); err != nil {
		return 0, err
	}
	return n, err
}

func (p *policed) allow(kind byte, flags uint16) error {
	switch {
	case kind == framePing:
		return errPinged
	case p.client && flags&flagSYN != 0:
		return errOpensOne
	default:
		return nil
	}
}

const (
	// pingInterval is go-plugin's, which is yamux's default, and maxPings how
	// many may come in that time: more than it ever sends.
	pingInterval = 30 * time.Second
	maxPings     = 60
)

// maxStrange is how many streams may be opened before anybody has authenticated on
// one, which a host does on its first: yamux buffers what comes on each.
const maxStrange = 8

var (
	errPingedOften = errors.New("the other side sent more pings than it has reason to")
	errOpenedEarly = errors.New("the other side opened more streams than it has reason to before it authenticated")
)

// limited is the connection under a yamux session with a peer on go-plugin, which
// pings and opens streams, within reason.
type limited struct {
	net.Conn
	known *atomic.Bool // set when the other side has authenticated; nil where that is no question

	// What follows belongs to the goroutine of yamux that reads.
	frames frames
	opened int // streams, before known
	pings  int // since
	since  time.Time
}

// Read implements [net.Conn].
func (l *limited) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if err := l.frames.check(b[:n], l.allow); err != nil {
		return 0, err
	}
	return n, err
}

func (l *limited) allow(kind byte, flags uint16) error {
	if kind != framePing {
		return l.allowStream(flags)
	}
	if now := time.Now(); now.Sub(l.since) > pingInterval {
		l.pings, l.since = 0, now
	}
	l.pings++
	if l.pings > maxPings {
		return errPingedOften
	}
	return nil
}

func (l *limited) allowStream(flags uint16) error {
	if flags&flagSYN == 0 || !isStrange(l.known) {
		return nil
	}
	if l.opened++; l.opened > maxStrange {
		return errOpenedEarly
	}
	return nil
}

func isStrange(known *atomic.Bool) bool { return known != nil && !known.Load() }

// check takes in what was read, and asks allow about each frame.
func (f *frames) check(b []byte, allow func(kind byte, flags uint16) error) error {
	for len(b) > 0 {
		if f.body > 0 {
			n := min(uint64(f.body), uint64(len(b)))
			f.body -= uint32(n) //nolint:gosec // at most body
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < frameHeaderLen {
			return nil
		}
		f.have = 0
		kind := f.header[frameTypeOffset]
		if err := allow(kind, binary.BigEndian.Uint16(f.header[frameFlags:])); err != nil {
			return err
		}
		if kind == frameData {
			f.body = binary.BigEndian.Uint32(f.header[frameLength:])
		}
	}
	return nil
}
