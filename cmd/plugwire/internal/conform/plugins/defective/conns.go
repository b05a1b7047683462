//go:build unix

package main

import (
	"bytes"
	"encoding/binary"
	"net"
)

// behind is a connection whose first bytes have been read.
type behind struct {
	*net.UnixConn
	first *bytes.Reader
}

// Read implements [net.Conn].
func (b *behind) Read(p []byte) (int, error) {
	if b.first.Len() > 0 {
		return b.first.Read(p)
	}
	return b.UnixConn.Read(p)
}

// reader changes what is read from a connection.
type reader struct {
	*net.UnixConn
	read func(b []byte)
}

// Read implements [net.Conn].
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.UnixConn.Read(p)
	if n > 0 {
		r.read(p[:n])
	}
	return n, err
}

// watched shows everything that is read to a function.
func watched(read func(b []byte)) func(*broken, *net.UnixConn) net.Conn {
	return func(_ *broken, c *net.UnixConn) net.Conn { return &reader{c, read} }
}

// firstBytes changes the first bytes that are read.
func firstBytes(change func(b []byte) []byte) func(*broken, *net.UnixConn) net.Conn {
	return func(_ *broken, c *net.UnixConn) net.Conn {
		first := true
		return &reader{c, func(b []byte) {
			if first {
				change(b)
			}
			first = false
		}}
	}
}

// greedy loses what comes with the preamble.
type greedy struct {
	*net.UnixConn
	past bool
}

// Read implements [net.Conn].
func (g *greedy) Read(p []byte) (int, error) {
	if !g.past && len(p) == 16 {
		g.past = true
		b := make([]byte, 4096)
		n, err := g.UnixConn.Read(b)
		return copy(p, b[:n]), err
	}
	return g.UnixConn.Read(p)
}

// framedConn is a connection of pw/1 whose frames are changed. A change returns the frame, or
// nothing if the frame is dropped.
type framedConn struct {
	*net.UnixConn
	// in changes the header of a frame that comes, and out a whole frame that goes.
	in, out func(frame []byte) []byte

	preamble bool   // the preamble has passed
	left     int    // of the payload that is being read
	pending  []byte // read, and not yet changed
	ready    []byte // changed, and not yet given to the plugin
	writes   []byte // of a frame that is not complete
}

// frames changes the frames of connections, under a host that offers pw/1 alone.
func frames(in, out func(frame []byte) []byte) func(*broken, *net.UnixConn) net.Conn {
	return func(p *broken, c *net.UnixConn) net.Conn {
		if !p.pw() {
			return c
		}
		return &framedConn{UnixConn: c, in: in, out: out}
	}
}

// without returns a frame without a payload, unless it is dropped.
func without(frame []byte, drop bool) []byte {
	if drop {
		return nil
	}
	return frame
}

// frameHeader is the size of the header of a frame.
const frameHeader = 8

// length returns how long the payload of a frame is.
func length(frame []byte) int { return int(binary.LittleEndian.Uint32(frame) & 0xffffff) }

// Read implements [net.Conn].
func (f *framedConn) Read(p []byte) (int, error) {
	if f.in == nil {
		return f.UnixConn.Read(p)
	}
	for len(f.ready) == 0 {
		buf := make([]byte, 64<<10)
		n, err := f.UnixConn.Read(buf)
		f.pending = append(f.pending, buf[:n]...)
		f.take()
		if err != nil {
			return copy(p, f.ready), err
		}
	}
	n := copy(p, f.ready)
	f.ready = f.ready[n:]
	return n, nil
}

// take changes what is pending.
func (f *framedConn) take() {
	pass := func(n int) {
		f.ready, f.pending = append(f.ready, f.pending[:n]...), f.pending[n:]
	}
	const fixed = 16 // of the preamble
	if !f.preamble && len(f.pending) >= fixed {
		f.preamble = true
		pass(min(len(f.pending), fixed+int(f.pending[14])))
	}
	for f.preamble && len(f.pending) > 0 {
		if n := min(f.left, len(f.pending)); n > 0 {
			f.left -= n
			pass(n)
			continue
		}
		if len(f.pending) < frameHeader {
			return
		}
		f.left = length(f.pending)
		header := f.in(bytes.Clone(f.pending[:frameHeader]))
		f.ready, f.pending = append(f.ready, header...), f.pending[frameHeader:]
	}
}

// Write implements [net.Conn].
func (f *framedConn) Write(p []byte) (int, error) {
	if f.out == nil {
		return f.UnixConn.Write(p)
	}
	f.writes = append(f.writes, p...)
	var changed []byte
	for len(f.writes) >= frameHeader && len(f.writes) >= frameHeader+length(f.writes) {
		n := frameHeader + length(f.writes)
		changed, f.writes = append(changed, f.out(bytes.Clone(f.writes[:n]))...), f.writes[n:]
	}
	if _, err := f.UnixConn.Write(changed); err != nil {
		return 0, err
	}
	return len(p), nil
}
