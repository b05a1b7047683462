package pw

import (
	"errors"
	"io"
	"net"
)

// inbuf is what was read and not handled yet.
type inbuf struct {
	buf  []byte
	r, w int
	left int    // bytes of a piece that are still to come
	id   uint32 // the call that the piece is for

	piece bool // a piece began since the last read
}

const (
	// readSize is how much is read at once.
	readSize = 64 << 10
	// shortRead is how much is read where the next large message may begin, so that most of
	// that is read straight into the message.
	shortRead = 4 << 10
)

// frame returns the next frame, if it is there.
func (b *inbuf) frame() (frame, bool, error) {
	if b.left > 0 && b.r < b.w {
		n := min(b.left, b.w-b.r)
		b.left -= n
		b.r += n
		return frame{framePiece, b.id, b.buf[b.r-n : b.r : b.r]}, true, nil
	}
	if b.left > 0 || b.w-b.r < headerLen {
		return frame{}, false, nil
	}
	k, id, n := parseHeader(b.buf[b.r:])
	if k == 0 || int(k) >= len(maxPayload) || n > maxPayload[k] {
		return frame{}, false, broken("a frame of kind %d with %d bytes", k, n)
	}
	if k == framePiece && n > 0 { // it comes in parts
		b.r += headerLen
		b.left, b.id, b.piece = n, id, true
		return b.frame()
	}
	if b.w-b.r < headerLen+n {
		return frame{}, false, nil
	}
	from := b.r + headerLen
	b.r = from + n
	return frame{k, id, b.buf[from:b.r:b.r]}, true, nil
}

// hasFrame reports whether a whole frame is there.
func (b *inbuf) hasFrame() bool {
	if b.left > 0 || b.w-b.r < headerLen {
		return false
	}
	_, _, n := parseHeader(b.buf[b.r:])
	return b.w-b.r >= headerLen+n
}

// fill reads more.
func (b *inbuf) fill(conn net.Conn) error {
	need, most := readSize, maxFrame
	if b.left == 0 && b.piece {
		most = shortRead
	}
	if b.left == 0 && b.w-b.r >= headerLen {
		_, _, n := parseHeader(b.buf[b.r:])
		need = max(need, headerLen+n)
		most = max(most, headerLen+n-(b.w-b.r))
	}
	switch {
	case b.r == b.w:
		b.r, b.w = 0, 0
		if cap(b.buf) > 4*readSize && need <= readSize || len(b.buf) == 0 {
			b.buf = make([]byte, max(readSize, need))
		}
	case b.r+need > len(b.buf):
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
	}
	if len(b.buf) < need {
		larger := make([]byte, need)
		b.w = copy(larger, b.buf[b.r:b.w])
		b.r = 0
		b.buf = larger
	}
	b.piece = b.left > 0
	n, err := conn.Read(b.buf[b.w:min(len(b.buf), b.w+most)])
	b.w += n
	if n > 0 && (err == nil || errors.Is(err, io.EOF)) {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
