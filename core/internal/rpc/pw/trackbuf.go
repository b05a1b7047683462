package pw

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// trackBuf is what was read from a track and not handled yet. It grows with what comes, never by
// what a frame says.
type trackBuf struct {
	buf  []byte
	r, w int
	left int // bytes of a piece that are still to come
}

const (
	// trackHeaderLen is the length of a frame's header on a track: as headerLen, without the
	// number of the call.
	trackHeaderLen = 4
	// trackRead is how much of a track is read at once in the beginning. If more comes, that is
	// trackGrowth times as much, and up to mostTrackRead if it is not for one frame.
	trackRead     = 512
	trackGrowth   = 8
	mostTrackRead = 64 << 10
	// restingTrack is the largest buffer that a track without a call keeps, in bytes.
	restingTrack = 8 << 10
)

// parseTrackHeader reads the header of a frame.
func parseTrackHeader(b []byte) (k kind, payload int) {
	word := binary.LittleEndian.Uint32(b)
	return kind(word >> 24), int(word & (1<<24 - 1))
}

// isOfTrack reports whether frames of a kind may come on a track. QUIC itself cancels calls and
// gives credit.
func isOfTrack(k kind) bool {
	switch k {
	case frameOpen, frameHeader, frameMessage, frameBegin, framePiece, frameHalf, frameEnd:
		return true
	default:
		return false
	}
}

// frame returns the next frame, if it is there.
func (b *trackBuf) frame() (frame, bool, error) {
	if b.left > 0 && b.r < b.w {
		n := min(b.left, b.w-b.r)
		b.left -= n
		b.r += n
		return frame{kind: framePiece, payload: b.buf[b.r-n : b.r : b.r]}, true, nil
	}
	k, n, err := b.announced()
	if err != nil || n < 0 {
		return frame{}, false, err
	}
	if k == framePiece && n > 0 { // it comes in parts
		b.r += trackHeaderLen
		b.left = n
		return b.frame()
	}
	if b.w-b.r < trackHeaderLen+n {
		return frame{}, false, nil
	}
	from := b.r + trackHeaderLen
	b.r = from + n
	return frame{kind: k, payload: b.buf[from:b.r:b.r]}, true, nil
}

// announced returns the kind and the length of the next frame, or -1 if its header is not there.
func (b *trackBuf) announced() (kind, int, error) {
	if b.left > 0 || b.w-b.r < trackHeaderLen {
		return 0, -1, nil
	}
	k, n := parseTrackHeader(b.buf[b.r:])
	if !isOfTrack(k) || n > maxPayload[k] {
		return 0, -1, broken("a frame of kind %d with %d bytes on the stream of a call", k, n)
	}
	return k, n, nil
}

func (b *trackBuf) isEmpty() bool { return b.r == b.w }

// fill reads more.
func (b *trackBuf) fill(from io.Reader) error {
	full := b.w == len(b.buf)
	if b.r == b.w {
		b.r, b.w = 0, 0
		full = full && len(b.buf) < mostTrackRead
	} else if full && b.r > 0 && b.r >= len(b.buf)/2 {
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r, full = 0, false
	}
	if full {
		b.grow()
	}
	n, err := from.Read(b.buf[b.w:])
	b.w += n
	if n > 0 && (err == nil || errors.Is(err, io.EOF)) {
		return nil // the next read says so again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow makes the buffer larger, but not much larger than what has come.
func (b *trackBuf) grow() {
	size := max(trackRead, trackGrowth*len(b.buf))
	if _, n, _ := b.announced(); n > 0 && trackHeaderLen+n < size {
		size = max(trackHeaderLen+n, 2*len(b.buf))
	}
	var larger []byte
	if size > restingTrack {
		larger = takeLarge(size)[:size]
	} else {
		larger = make([]byte, size)
	}
	old := b.buf
	b.w = copy(larger, b.buf[b.r:b.w])
	b.r, b.buf = 0, larger
	giveLarge(old)
}

// rest gives up a large buffer.
func (b *trackBuf) rest() {
	if b.isEmpty() && len(b.buf) > restingTrack {
		giveLarge(b.buf)
		*b = trackBuf{}
	}
}

// trackBuffers are large buffers that no track needs.
var trackBuffers sync.Pool

// takeLarge returns an empty buffer for that many bytes.
func takeLarge(size int) []byte {
	if b, ok := trackBuffers.Get().(*[]byte); ok && cap(*b) >= size {
		return *b
	}
	return make([]byte, 0, size)
}

// giveLarge gives a buffer back that is large enough for others.
func giveLarge(b []byte) {
	if cap(b) > restingTrack && cap(b) <= maxUnsent {
		b = b[:0]
		trackBuffers.Put(&b)
	}
}
