package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A server of grpc allocates memory for a message while it arrives, up to the limit on one
// message, in each call in flight. It has no limit for all calls together. So a servedConn
// reads the length at the beginning of each message. If there is no room for that many bytes,
// it replaces the length by one that grpc refuses. That ends this call and no other.

const (
	// prefixLen is the length of the prefix of a message of gRPC: a flag and the length of
	// the message (gRPC over HTTP/2, "Length-Prefixed-Message").
	prefixLen = 5
	lengthLen = 4
	// refusedLength replaces the length of a message that does not fit. It is larger than
	// any limit, and no other message has it, so that the caller can be told the reason.
	refusedLength = 1<<32 - 5
	// smallMessage is the size up to which a message is not counted: it fits into the
	// window of its call.
	smallMessage = callWindow
)

// refusedMark is in grpc's text for a call that was refused by refusedLength.
var refusedMark = fmt.Sprintf("message larger than max (%d vs.", uint32(refusedLength))

// arrival is the part of a stream's current message that has come.
type arrival struct {
	prefix  [prefixLen]byte
	have    int    // bytes of prefix
	missing uint32 // bytes of the message that are still to come
	taken   uint32 // bytes of the room that are taken for it
}

var errSplitLength = errors.New("there is no room for a message, and its length came in two frames")

// takeIn reads the frames in b, and returns how many bytes the reader gets now. With hold it
// keeps the beginning of a length back until the rest has come. The caller holds mu.
func (c *servedConn) takeIn(b []byte, hold bool) (int, error) {
	s := &c.incoming
	for at := 0; at < len(b); {
		if s.left == 0 {
			n, ok := s.next(b[at:])
			if at += n; ok {
				c.begin(s)
			}
			continue
		}
		body := s.body(b[at:])
		used := len(body)
		if s.kind == frameData {
			var err error
			if used, err = c.takeBody(body, hold); err != nil {
				return 0, err
			}
		}
		s.left -= used
		at += used
		if used < len(body) {
			return at, nil
		}
	}
	return len(b), nil
}

// begin handles the header of a frame. Streams are opened in the order of their numbers.
func (c *servedConn) begin(s *frameScanner) {
	switch {
	case s.kind == frameHeaders && s.stream > c.last:
		c.last = s.stream
		c.streams[s.stream] = arrival{}
	case s.kind == frameRSTStream:
		c.end(s.stream)
	}
}

// end forgets a stream. The caller holds mu.
func (c *servedConn) end(stream uint32) {
	if a, ok := c.streams[stream]; ok {
		c.room.give(a.taken)
		delete(c.streams, stream)
	}
}

// sendOut reads the frames that this side sends, because they end streams. The caller holds
// mu.
func (c *servedConn) sendOut(b []byte) {
	s := &c.outgoing
	for at := 0; at < len(b); {
		if s.left > 0 {
			n := len(s.body(b[at:]))
			s.left -= n
			at += n
			continue
		}
		n, ok := s.next(b[at:])
		at += n
		ends := s.kind == frameRSTStream || s.flags&flagEndStream != 0 && (s.kind == frameHeaders || s.kind == frameData)
		if ok && ends {
			c.end(s.stream)
		}
	}
}

// takeBody handles a part of the body of a frame with data, and returns how many bytes of it
// the reader gets now.
func (c *servedConn) takeBody(body []byte, hold bool) (int, error) {
	s := &c.incoming
	begin := 0
	if s.flags&flagPadded != 0 && !s.isPadded {
		s.padding, s.isPadded = int(body[0]), true
		begin = 1
	}
	left := max(0, s.left-begin-s.padding) // of the data in this frame
	data := body[begin : begin+min(len(body)-begin, left)]
	used, err := c.takeData(data, hold && left > len(data))
	if err != nil || used < len(data) {
		return begin + used, err
	}
	return len(body), nil
}

// takeData handles the next bytes of a stream's messages. With more, other bytes of the same
// frame follow.
func (c *servedConn) takeData(data []byte, more bool) (used int, err error) {
	a, open := c.streams[c.incoming.stream]
	if !open {
		return len(data), nil // it has ended, or never begun, and grpc handles that
	}
	for used < len(data) {
		rest := data[used:]
		switch {
		case a.missing > 0:
			n := uint32(min(uint64(a.missing), uint64(len(rest)))) //nolint:gosec // at most missing
			a.missing -= n
			used += int(n)
			if a.missing == 0 {
				c.room.give(a.taken)
				a.taken = 0
			}
		case more && a.have == 0 && len(rest) < prefixLen:
			c.streams[c.incoming.stream] = a
			return used, nil
		default:
			n := copy(a.prefix[a.have:], rest)
			a.have += n
			used += n
			if a.have == prefixLen {
				if err := c.announced(&a, rest[max(0, n-lengthLen):n]); err != nil {
					return 0, err
				}
			}
		}
	}
	c.streams[c.incoming.stream] = a
	return used, nil
}

// announced handles the length of a message, or refuses the message. length is the part of
// it that the reader does not have yet.
func (c *servedConn) announced(a *arrival, length []byte) error {
	size := binary.BigEndian.Uint32(a.prefix[prefixLen-lengthLen:])
	a.have, a.missing, a.taken = 0, size, 0
	switch {
	case size <= smallMessage || size > c.room.largest: // grpc refuses the latter
		return nil
	case c.room.take(size):
		a.taken = size
		return nil
	case len(length) < lengthLen:
		return errSplitLength
	default:
		binary.BigEndian.PutUint32(length, refusedLength)
		c.refusals++
		return nil
	}
}
