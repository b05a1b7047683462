package h2

import "encoding/binary"

// The header of a frame (RFC 9113, section 4.1): length, type, flags, stream.
const (
	frameHeaderLen = 9
	frameType      = 3
	frameFlags     = 4
	frameStream    = 5

	frameData      = 0
	frameHeaders   = 1
	frameRSTStream = 3

	flagEndStream = 0x1 // of DATA and HEADERS
	flagPadded    = 0x8 // of DATA
)

// prefaceLen is what a client's side of a connection begins with (RFC 9113, section
// 3.4).
const prefaceLen = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// frameScanner finds the frames in one direction of a connection.
type frameScanner struct {
	skip   int // bytes before the first frame
	header [frameHeaderLen]byte
	have   int // bytes of header

	// The frame whose header came last.
	kind, flags byte
	stream      uint32
	left        int  // bytes of its body that are still to come
	padding     int  // bytes at its end, once isPadded
	isPadded    bool // the length of the padding has come
}

// next takes in the bytes up to the end of a header, and reports whether it is
// complete. It is for the time between two frames: left is 0.
func (s *frameScanner) next(b []byte) (n int, ok bool) {
	if s.skip > 0 {
		n = min(s.skip, len(b))
		s.skip -= n
		b = b[n:]
	}
	k := copy(s.header[s.have:], b)
	s.have += k
	n += k
	if s.have < frameHeaderLen {
		return n, false
	}
	s.have = 0
	s.kind, s.flags = s.header[frameType], s.header[frameFlags]
	s.stream = binary.BigEndian.Uint32(s.header[frameStream:]) & (1<<31 - 1)
	s.left = int(s.header[0])<<16 | int(s.header[1])<<8 | int(s.header[2])
	s.padding, s.isPadded = 0, false
	return n, true
}

// body returns the part of b that belongs to the frame.
func (s *frameScanner) body(b []byte) []byte { return b[:min(s.left, len(b))] }
