package pw

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

const (
	// firstWindow is the credit in bytes that a call begins with, in each direction. A message
	// may begin while there is credit, and takes all of its cost, so one message more than the
	// credit can be on its way.
	firstWindow = 64 << 10
	// window is the credit that a call has once its messages are read. What it has more than
	// firstWindow counts as buffered (room).
	window = 1 << 20
	wider  = window - firstWindow
	// messageCost is what a message costs beside its size, in bytes of credit: an empty message
	// takes memory too.
	messageCost = headerLen
)

// want is what a goroutine waits for at a call.
type want int

const (
	wantMessage want = iota // a message, or the end
	wantHeader              // metadata, or what comes after it
	wantAnswer              // the end, or what a unary call must not wait for any longer
	wantEnd                 // the end, beside a goroutine that wants something else
	wantCredit              // permission to send
)

// stream is what both sides of a call have in common.
type stream struct {
	c  *conn
	w  *writer // takes the frames of the call
	l  *track  // the stream of the transport that the call has of its own; nil without
	id uint32

	// The mutex of the connection guards these.
	data     []byte   // messages: for each a number, which is its size * 2, and its bytes. 1 stands for a large one
	larges   [][]byte // the large messages
	large    []byte   // one that is arriving
	size     int      // that it will have
	skip     int      // bytes of a large message that was refused
	allowed  int      // bytes that the other side may send
	credit   int      // bytes that this side may send
	headerIn bool     // the header has come, or will not
	over     bool     // no more messages come
	gone     bool     // the call has ended, or was given up
	refusal  error    // why a message was not taken

	receiver waiter // waits for a message, or for the end
	sender   waiter // waits for credit
	reads    waiter // waits for the header
	ends     waiter // waits for the end
	wide     bool   // the other side has credit up to window

	// These belong to the goroutine that receives.
	out       []byte
	base      []byte // what out is a part of
	outLarges [][]byte

	cut error // why a message was not sent whose credit is spent, so that none can follow; belongs to the sender

	limit int   // of a message that is received
	room  *room // what this side holds for calls
	held  int   // bytes of large messages that are taken of the room; guarded by the mutex of the connection
}

// waiter is a goroutine that waits for something of a call. A receiver and a sender may wait
// at the same call.
type waiter struct {
	wake       chan struct{} // has room for one; made when it is needed
	isListed   bool          // in the list of those that wait
	prev, next *waiter
}

func (w *waiter) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// live reports whether messages may be sent.
func (s *stream) live() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return !s.gone
}

func (s *stream) waiter(w want) *waiter {
	switch w {
	case wantCredit:
		return &s.sender
	case wantHeader:
		return &s.reads
	case wantEnd:
		return &s.ends
	default:
		return &s.receiver
	}
}

func (s *stream) has(w want) bool {
	switch w {
	case wantMessage:
		return len(s.data) > 0 || s.over || s.refusal != nil
	case wantHeader:
		return s.headerIn || s.over
	case wantAnswer:
		return s.over || s.refusal != nil || s.hasSecond() || s.isStalled()
	case wantCredit:
		return s.credit > 0 || s.gone
	default:
		return s.over
	}
}

// hasSecond reports whether a message has come, and at least a part of another.
func (s *stream) hasSecond() bool {
	if len(s.data) == 0 {
		return false
	}
	size, n := binary.Uvarint(s.data)
	return s.large != nil || uint64(len(s.data)) > uint64(n)+size>>1 //nolint:gosec // positive
}

// isStalled reports whether a message has come, and the other side needs credit for another.
func (s *stream) isStalled() bool { return len(s.data) > 0 && s.allowed <= 0 }

// notify wakes those that wait at the call. The caller holds the mutex of the connection.
func (s *stream) notify() {
	for _, w := range [...]*waiter{&s.receiver, &s.sender, &s.reads, &s.ends} {
		if w.isListed {
			s.c.handed = s.l == nil
			w.wakeUp()
		}
	}
}

// await waits until the call has what is wanted, or the connection is lost. It reads, if
// nobody else does. The caller holds the mutex of the connection. An error is that of ctx.
func (s *stream) await(ctx context.Context, w want) error {
	c := s.c
	if s.has(w) {
		return nil
	}
	if s.l != nil {
		return s.l.await(ctx, s, w)
	}
	for !s.has(w) && c.lostWith == nil {
		if err := ctx.Err(); err != nil {
			c.passOn()
			return err
		}
		if !c.reading {
			c.reading = true
			if !c.readAs(ctx, s, w) {
				continue
			}
		}
		me := s.waiter(w)
		if me.wake == nil {
			me.wake = make(chan struct{}, 1)
		}
		c.waiting.add(me)
		c.mu.Unlock()
		select {
		case <-me.wake:
		case <-ctx.Done():
		}
		c.mu.Lock()
		c.waiting.remove(me)
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
	if s.refusal != nil {
		return // the receiver gets an error, and not what comes after it
	}
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
	s.allowed -= size + messageCost
	return nil
}

func (s *stream) beginLarge(payload []byte) error {
	size, rest, err := uvarint(payload)
	if err != nil || len(rest) > 0 || size <= smallMessage || size > maxLarge {
		return broken("the size of a large message")
	}
	n := int(size)
	if err := s.admit(n); err != nil {
		return err
	}
	switch {
	case s.refusal != nil:
		s.skip = n
	case n > s.limit:
		s.refuse(n, calls.TooLarge("receive", n, s.limit))
	case !s.room.take(n):
		s.refuse(n, calls.NoRoom(s.room.side, true))
	default:
		s.held += held(n)
		s.size, s.large = n, make([]byte, 0, min(n, firstLarge))
	}
	return nil
}

const (
	// maxLarge bounds the size of a message, in bytes, whatever the limit of this side is.
	maxLarge = 1 << 32
	// firstLarge is how many bytes are allocated when a large message begins. After that the
	// memory is at most twice what has come.
	firstLarge = 1 << 20
)

// grow makes room in the large message for a piece.
func (s *stream) grow(piece int) {
	need := len(s.large) + piece
	if need <= cap(s.large) {
		return
	}
	larger := make([]byte, len(s.large), min(s.size, max(need, 2*cap(s.large))))
	copy(larger, s.large)
	s.large = larger
}

// dropLarge drops a large message that has not come in full. The caller holds the mutex of the
// connection.
func (s *stream) dropLarge() {
	if s.large != nil {
		s.large = nil
		s.room.give(held(s.size))
		s.held -= held(s.size)
	}
}

// release gives back what the call has taken of the room. The caller holds the mutex of the
// connection.
func (s *stream) release() {
	s.dropLarge()
	if s.held > 0 {
		s.room.give(s.held)
		s.held = 0
	}
	if s.wide {
		s.room.windows.Add(-wider)
		s.wide = false
	}
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
		if len(payload) > s.skip || len(payload) == 0 {
			return broken("a message that is longer than it was announced")
		}
		s.skip -= len(payload)
		return nil
	}
	if s.large == nil || len(payload) > s.size-len(s.large) || len(payload) == 0 {
		return broken("a piece of no message")
	}
	s.grow(len(payload))
	s.large = append(s.large, payload...)
	s.complete()
	return nil
}

// took notes that the next bytes of a large message were read into dst, which is the free part
// of it, unless the call has ended meanwhile.
func (s *stream) took(dst []byte, n int) {
	if at := len(s.large); at < cap(s.large) && &s.large[:at+1][at] == &dst[0] {
		s.large = s.large[:at+n]
		s.complete()
	}
}

// complete hands a large message over when all of it is there.
func (s *stream) complete() {
	if len(s.large) == s.size {
		keepHeadroom(s.size)
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
		if len(s.out) >= headroomFrom {
			keepHeadroom(len(s.out))
		}
		s.give(ctx, more)
	}
	size, n := binary.Uvarint(s.out)
	rest := s.out[n:]
	if size == 1 {
		s.out = rest
		message = s.outLarges[0]
		s.outLarges[0] = nil
		s.outLarges = s.outLarges[1:]
		s.c.mu.Lock()
		if n := held(len(message)); s.held >= n {
			s.room.give(n)
			s.held -= n
		}
		s.c.mu.Unlock()
		return message, true, nil
	}
	size >>= 1
	s.out = rest[size:]
	return rest[:size:size], false, nil
}

// takeAll moves all messages that have come to the receiver, which has none left. The caller
// holds the mutex of the connection.
func (s *stream) takeAll() {
	s.base, s.data = s.data, s.base[:0]
	s.out = s.base
	s.outLarges, s.larges = s.larges, nil
}

// owe returns how much new credit the other side gets now.
func (s *stream) owe() int {
	if s.over || s.gone {
		return 0
	}
	target := firstWindow
	if !s.wide && s.allowed < firstWindow/2 {
		s.wide = s.room.widen()
	}
	if s.wide {
		target = window
	}
	more := target - s.allowed
	if more < target/2 {
		return 0
	}
	s.allowed += more
	return more
}

func (s *stream) give(ctx context.Context, credit int) {
	if credit == 0 {
		return
	}
	w := s.w
	w.mu.Lock()
	at := w.begin(frameCredit, s.id)
	w.buf = appendUvarint(w.buf, uint64(credit)) //nolint:gosec // positive
	w.end(at)
	w.flushFor(ctx)
}

func (s *stream) takeCredit(payload []byte) error {
	more, rest, err := uvarint(payload)
	if err != nil || len(rest) > 0 || more == 0 || more > maxCredit || s.credit > maxCredit {
		return broken("credit")
	}
	s.credit += int(more)
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
	}
	if s.c.lostWith != nil {
		return errLost
	}
	if s.gone {
		return errGone
	}
	s.credit -= size + messageCost
	return nil
}

// sendMessage sends a message, and tail after it, which is a whole frame. lazy leaves the
// writing of a small message to the flusher.
func (s *stream) sendMessage(ctx context.Context, m *message, tail []byte, lazy bool) error {
	if s.cut != nil {
		return s.cut
	}
	if err := s.spend(ctx, m.size); err != nil {
		return err
	}
	s.cut = errNotEncoded // in case the encoding panics
	if m.size > smallMessage {
		s.cut = s.sendLarge(ctx, m, tail)
	} else {
		s.cut = s.sendSmall(ctx, m, tail, lazy)
	}
	return s.cut
}

// errNotEncoded is why no message follows one whose encoding has panicked.
var errNotEncoded = status.Error(codes.Internal, "grpc: error while marshaling: a message before has panicked")

// sendSmall sends a message in one frame, and tail after it.
func (s *stream) sendSmall(ctx context.Context, m *message, tail []byte, lazy bool) error {
	w := s.w
	if err := w.lock(ctx); err != nil {
		return err
	}
	if s.l != nil {
		w.widen(m.size)
	}
	at := w.begin(frameMessage, s.id)
	if err := w.encode(m, at); err != nil {
		return err
	}
	w.end(at)
	w.buf = append(w.buf, tail...)
	if lazy && len(w.buf) < lazyFlush {
		w.later()
	} else {
		w.flushFor(ctx)
	}
	return nil
}

// waitList is a list of those that wait, the first one first.
type waitList struct{ first, last *waiter }

func (l *waitList) add(s *waiter) {
	s.isListed = true
	s.prev, s.next = l.last, nil
	if l.last != nil {
		l.last.next = s
	} else {
		l.first = s
	}
	l.last = s
}

func (l *waitList) remove(s *waiter) {
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
