package pw

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// window is how many bytes of messages a call may have on their way, in one direction. A
// message may begin while there is credit, and takes all of its size, so one message more
// than the window can be on its way.
const window = 1 << 20

// want is what a goroutine waits for at a call.
type want int

const (
	wantMessage want = iota // a message, or the end
	wantHeader              // metadata, or what comes after it
	wantEnd                 // the end
	wantCredit              // permission to send
)

// stream is what both sides of a call have in common.
type stream struct {
	c  *conn
	id uint32

	// The mutex of the connection guards these.
	data     []byte   // messages: for each a number, which is its size * 2, and its bytes. 1 stands for a large one
	larges   [][]byte // the large messages
	large    []byte   // one that is arriving
	got      int      // bytes of it that are there
	skip     int      // bytes of a large message that was refused
	allowed  int      // bytes that the other side may send
	credit   int      // bytes that this side may send
	headerIn bool     // the header has come, or will not
	over     bool     // no more messages come
	gone     bool     // the call has ended, or was given up
	refusal  error    // why a message was not taken

	wake       chan struct{} // has room for one
	isListed   bool          // in the list of calls that wait
	prev, next *stream

	// These belong to the goroutine that receives.
	out       []byte
	base      []byte // what out is a part of
	outLarges [][]byte

	limit int   // of a message that is received
	room  *room // for large messages; nil for a caller's
	held  int   // bytes that are taken of the room; guarded by the mutex of the connection
}

func (s *stream) has(w want) bool {
	switch w {
	case wantMessage:
		return len(s.data) > 0 || s.over || s.refusal != nil
	case wantHeader:
		return s.headerIn || s.over
	case wantCredit:
		return s.credit > 0 || s.gone
	default:
		return s.over
	}
}

// notify wakes who waits at the call. The caller holds the mutex of the connection.
func (s *stream) notify() {
	if s.isListed {
		s.c.handed = true
		s.wakeUp()
	}
}

func (s *stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await waits until the call has what is wanted, or the connection is lost. It reads, if
// nobody else does. The caller holds the mutex of the connection. An error is that of ctx.
func (s *stream) await(ctx context.Context, w want) error {
	c := s.c
	if s.has(w) {
		return nil
	}
	for !s.has(w) && c.lostWith == nil {
		if err := ctx.Err(); err != nil {
			c.passOn()
			return err
		}
		if !c.reading {
			c.reading = true
			c.readAs(s, w, ctx.Done() != nil)
			continue
		}
		if s.wake == nil {
			s.wake = make(chan struct{}, 1)
		}
		c.waiting.add(s)
		c.mu.Unlock()
		select {
		case <-s.wake:
		case <-ctx.Done():
		}
		c.mu.Lock()
		c.waiting.remove(s)
	}
	c.passOn()
	return nil
}

// takeMessage takes a frame with a message, or with a part of one.
func (s *stream) takeMessage(f frame) error {
	switch f.kind {
	case frameMessage:
		if len(f.payload) > smallMessage {
			return broken("a message of %d bytes in one frame", len(f.payload))
		}
		if err := s.admit(len(f.payload)); err != nil {
			return err
		}
		s.put(f.payload)
	case frameBegin:
		return s.beginLarge(f.payload)
	default:
		return s.takePiece(f.payload)
	}
	return nil
}

func (s *stream) put(message []byte) {
	s.data = append(binary.AppendUvarint(s.data, uint64(len(message))<<1), message...)
	s.notify()
}

// admit takes a message of that size into account.
func (s *stream) admit(size int) error {
	if s.over || s.large != nil || s.skip > 0 {
		return broken("a message that nobody expects")
	}
	if s.allowed <= 0 {
		return broken("a message without credit")
	}
	s.allowed -= size
	return nil
}

func (s *stream) beginLarge(payload []byte) error {
	size, rest, err := uvarint(payload)
	if err != nil || len(rest) > 0 || size == 0 || size > 1<<32 {
		return broken("the size of a large message")
	}
	n := int(size) //nolint:gosec // at most 4 GiB
	if err := s.admit(n); err != nil {
		return err
	}
	switch {
	case n > s.limit:
		s.refuse(n, calls.TooLarge("receive", n, s.limit))
	case s.room != nil && !s.room.take(n):
		s.refuse(n, errNoRoom)
	default:
		if s.room != nil {
			s.held += n
		}
		s.large, s.got = make([]byte, n), 0
	}
	return nil
}

// refuse lets a large message pass without keeping it.
func (s *stream) refuse(size int, why error) {
	s.skip = size
	if s.refusal == nil {
		s.refusal = why
	}
	s.notify()
}

func (s *stream) takePiece(payload []byte) error {
	if s.skip > 0 {
		if len(payload) > s.skip {
			return broken("a message that is longer than it was announced")
		}
		s.skip -= len(payload)
		return nil
	}
	if s.large == nil || len(payload) > len(s.large)-s.got || len(payload) == 0 {
		return broken("a piece of no message")
	}
	s.got += copy(s.large[s.got:], payload)
	s.complete()
	return nil
}

// took notes that the next bytes of a large message were read into dst, which is a part of
// it, unless the call has ended meanwhile.
func (s *stream) took(dst []byte, n int) {
	if s.got < len(s.large) && &s.large[s.got] == &dst[0] {
		s.got += n
		s.complete()
	}
}

// complete hands a large message over when all of it is there.
func (s *stream) complete() {
	if s.got == len(s.large) {
		s.larges = append(s.larges, s.large)
		s.large = nil
		s.data = append(s.data, 1)
		s.notify()
	}
}

// receive returns the next message. It belongs to the caller until the next receive. The
// error is io.EOF at the end, or that of ctx.
func (s *stream) receive(ctx context.Context) (message []byte, large bool, err error) {
	if len(s.out) == 0 {
		s.c.mu.Lock()
		if err := s.await(ctx, wantMessage); err != nil {
			s.c.mu.Unlock()
			return nil, false, err
		}
		if len(s.data) == 0 {
			err := s.refusal
			if err == nil {
				err = io.EOF
			}
			s.c.mu.Unlock()
			return nil, false, err
		}
		s.takeAll()
		more := s.owe()
		s.c.mu.Unlock()
		s.give(more)
	}
	size, n := binary.Uvarint(s.out)
	rest := s.out[n:]
	if size == 1 {
		s.out = rest
		message = s.outLarges[0]
		s.outLarges = s.outLarges[1:]
		return message, true, nil
	}
	size >>= 1
	s.out = rest[size:]
	return rest[:size:size], false, nil
}

// takeAll makes all messages that have come those of the receiver, who has none. The caller
// holds the mutex of the connection.
func (s *stream) takeAll() {
	s.base, s.data = s.data, s.base[:0]
	s.out = s.base
	s.outLarges, s.larges = s.larges, nil
}

// owe returns how much new credit the other side gets now.
func (s *stream) owe() int {
	more := window - s.allowed
	if more < window/2 || s.over {
		return 0
	}
	s.allowed += more
	return more
}

func (s *stream) give(credit int) {
	if credit == 0 {
		return
	}
	w := s.c.w
	w.mu.Lock()
	at := w.begin(frameCredit, s.id)
	w.buf = appendUvarint(w.buf, uint64(credit)) //nolint:gosec // positive
	w.end(at)
	w.flush()
}

func (s *stream) takeCredit(payload []byte) error {
	more, rest, err := uvarint(payload)
	if err != nil || len(rest) > 0 || more == 0 || more > maxCredit || s.credit > maxCredit {
		return broken("credit")
	}
	s.credit += int(more) //nolint:gosec // bounded
	s.notify()
	return nil
}

// errGone is why a message is not sent: the call has ended.
var errGone = errors.New("the call has ended")

// maxCredit bounds the credit of a call: a message of the largest size and a window.
const maxCredit = 1 << 33

// spend waits for credit, and takes that much of it.
func (s *stream) spend(ctx context.Context, size int) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.credit <= 0 {
		if err := s.await(ctx, wantCredit); err != nil {
			return err
		}
		if s.c.lostWith != nil {
			return errLost
		}
		if s.gone {
			return errGone
		}
	}
	s.credit -= size
	return nil
}

// sendMessage sends a message that was encoded by put, which appends it. lazy leaves the
// writing of it to the flusher.
func (s *stream) sendMessage(ctx context.Context, size int, put func([]byte) ([]byte, error), lazy bool) error {
	if err := s.spend(ctx, size); err != nil {
		return err
	}
	w := s.c.w
	if size > smallMessage {
		buf := largeBuffer(size)
		message, err := put(*buf)
		if err == nil {
			err = w.writeLarge(ctx, s.id, message)
		}
		*buf = message[:0]
		larges.Put(buf)
		return err
	}
	if err := w.lock(ctx); err != nil {
		return err
	}
	at := w.begin(frameMessage, s.id)
	buf, err := put(w.buf)
	if err != nil {
		w.buf = w.buf[:at]
		w.mu.Unlock()
		return err
	}
	w.buf = buf
	w.end(at)
	if lazy && len(w.buf) < lazyFlush {
		w.later()
	} else {
		w.flush()
	}
	return nil
}

// larges are buffers for large messages that are sent.
var larges sync.Pool

// largeBuffer returns an empty buffer for that many bytes.
func largeBuffer(size int) *[]byte {
	if b, ok := larges.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

// callList is a list of calls that wait, the first one first.
type callList struct{ first, last *stream }

func (l *callList) add(s *stream) {
	s.isListed = true
	s.prev, s.next = l.last, nil
	if l.last != nil {
		l.last.next = s
	} else {
		l.first = s
	}
	l.last = s
}

func (l *callList) remove(s *stream) {
	if !s.isListed {
		return
	}
	s.isListed = false
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.last = s.prev
	}
	s.prev, s.next = nil, nil
}
