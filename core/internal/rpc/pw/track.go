package pw

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/transport"
)

// track is a stream of the transport that carries one call at a time. It has the frames of the
// call without a number. A packet that is lost delays this call only, and the transport's flow
// control takes the place of credit. When a call has ended in good order, its track carries
// another one: a new stream would cost more than the rest of a small call.
//
// A goroutine that waits for something of the call reads. A goroutine whose context ends first
// is woken by the end of the track, or by a deadline of the stream if the call goes on.
type track struct {
	c   *conn
	str transport.CancelableStream
	w   *writer

	// The mutex of the connection guards these.
	k        *call     // the call of this side that it carries
	h        *handling // the call of the other side that it carries
	uses     uint64    // how many calls it has carried: a cancellation is for one of them
	reading  bool      // a goroutine reads
	canceled bool      // by this side
	halved   bool      // the caller has sent all messages
	answered bool      // the end was sent, and nothing of this call is read any more
	again    bool      // the end said that the track may carry another call
	counted  int       // bytes of a large frame that are taken of the room

	in trackBuf // belongs to the goroutine that reads
}

// The codes with which a side ends a track at once. docs/wire.md has them.
const (
	trackCanceled uint32 = 16 // the caller has given up, or wants no more calls on it
	trackRefused  uint32 = 17 // the call has not begun, and the server takes no more
	trackNoRoom   uint32 = 18 // the call has not begun, because the server has no room for its first frame
	trackLost     uint32 = 19 // the connection ends
)

// unlimited is the credit of a call whose messages the transport holds back.
const unlimited = 1 << 60

// maxTrackUnsent is how many bytes of a call may wait to be written until its sender waits.
const maxTrackUnsent = 64 << 10

// noCalls makes a writer not wait for other calls to add frames: it has only one.
var noCalls atomic.Int32

func (c *conn) newTrack(str transport.CancelableStream) *track {
	l := &track{c: c, str: str}
	l.w = &writer{raw: str, header: trackHeaderLen, most: maxTrackUnsent, interruptible: true, inFlight: &noCalls, failed: l.writeFailed, lane: newLane(str), watch: l.watchWrite}
	l.w.changed.L = &l.w.mu
	return l
}

// carries reports whether the track still carries a call.
func (l *track) carries(s *stream) bool {
	return l.k != nil && &l.k.stream == s || l.h != nil && &l.h.stream == s
}

// take gives a frame to the call.
func (l *track) take(f frame) error {
	if l.k != nil {
		return l.k.take(f)
	}
	if f.kind == frameHalf {
		l.halved = true
	}
	return l.h.take(f)
}

// cancel ends the track at once.
func (l *track) cancel(code uint32) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.cancelLocked(code)
}

func (l *track) cancelLocked(code uint32) {
	l.canceled = true
	l.str.Cancel(code)
}

// await waits until the call has what is wanted, or the connection is lost. It reads, if nobody
// else does. The caller holds the mutex of the connection. An error is that of ctx.
func (l *track) await(ctx context.Context, s *stream, w want) error {
	c := l.c
	for !s.has(w) && c.lostWith == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !l.reading && !l.answered {
			l.reading = true
			l.read(ctx, s, w)
			l.reading = false
			s.notify() // another goroutine may read
			continue
		}
		me := s.waiter(w)
		if me.wake == nil {
			me.wake = make(chan struct{}, 1)
		}
		me.isListed = true
		c.mu.Unlock()
		select {
		case <-me.wake:
		case <-ctx.Done():
		}
		c.mu.Lock()
		me.isListed = false
	}
	return nil
}

// read handles frames until the call has what is wanted. The caller holds the mutex of the
// connection, which read unlocks while it waits.
func (l *track) read(ctx context.Context, s *stream, w want) {
	c := l.c
	for c.lostWith == nil && !s.over && l.carries(s) {
		f, ok, err := l.in.frame()
		if err == nil && ok {
			l.uncount()
			err = l.take(f)
		}
		switch {
		case err != nil:
			c.loseLocked(err)
			return
		case ok:
			continue
		case s.has(w) || ctx.Err() != nil:
			return
		case !l.count():
			l.refuseFrame(s)
			return
		}
		if err := l.fill(ctx, s); err != nil {
			l.failed(ctx, err)
			return
		}
	}
}

// fill reads more from the track, a large message into its own buffer. The caller holds the mutex
// of the connection, which fill unlocks meanwhile.
func (l *track) fill(ctx context.Context, s *stream) (err error) {
	var dst []byte
	if n := l.in.left; n > 0 && l.in.isEmpty() && s.large != nil && s.size-len(s.large) >= n {
		s.grow(n)
		dst = s.large[len(s.large) : len(s.large)+n]
	}
	ofServer := l.h != nil
	l.c.mu.Unlock()
	if ofServer && ctx.Done() != nil { // a caller's context ends the track
		stop := context.AfterFunc(ctx, func() { _ = l.str.SetReadDeadline(past) })
		defer stop()
	}
	n := 0
	if dst != nil {
		n, err = l.str.Read(dst)
		l.in.left -= n
	} else {
		err = l.in.fill(l.str)
	}
	err = l.ignoreDeadline(err)
	l.c.mu.Lock()
	if n > 0 {
		s.took(dst, n)
	}
	return err
}

// ignoreDeadline returns nil for the error of a read that was woken by the end of a context. The
// deadline can be set late, when the call with that context has ended, and the track carries none
// or another.
func (l *track) ignoreDeadline(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = l.str.SetReadDeadline(time.Time{}) // fails only if the stream has ended, and then the next read does
		return nil
	}
	return err
}

// count takes a large frame into account that has not come in full. It reports whether there is
// room for it.
func (l *track) count() bool {
	_, n, _ := l.in.announced()
	if l.counted > 0 || held(n) == 0 {
		return true
	}
	if !l.room().take(n) {
		return false
	}
	l.counted = held(n)
	return true
}

func (l *track) uncount() {
	if l.counted > 0 {
		l.room().give(l.counted)
		l.counted = 0
	}
}

// room returns what this side holds for the calls of the track's kind.
func (l *track) room() *room {
	if l.k == nil && l.c.server != nil {
		return &l.c.server.room
	}
	return &l.c.room
}

// refuseFrame ends a call for whose next frame there is no room.
func (l *track) refuseFrame(s *stream) {
	if s.refusal == nil {
		s.refusal = calls.NoRoom(l.room().side, true)
	}
	l.cancelLocked(trackCanceled)
	l.gone()
}

// gone ends the call that the track carries, because the track has ended.
func (l *track) gone() {
	if l.k != nil {
		l.k.forget()
	} else if l.h != nil {
		l.h.cancelled(context.Canceled)
	}
}

// failed is the end of the track while a goroutine reads from it. The caller holds the mutex of
// the connection.
func (l *track) failed(ctx context.Context, err error) {
	code := uint32(0)
	if canceled, ok := errors.AsType[*transport.CanceledError](err); ok {
		code = canceled.Code
	}
	switch {
	case l.canceled:
		if ctx.Err() == nil {
			l.gone()
		}
	case !isOfStream(err) || code == trackLost:
		l.c.loseLocked(err)
	case l.k == nil:
		l.gone()
	case errors.Is(err, io.EOF):
		l.c.loseLocked(broken("the stream of a call ends without the end of the call"))
	case code == trackNoRoom:
		l.k.refusal = calls.NoRoom(l.c.client.Other, false)
		l.gone()
	case errors.Is(err, transport.ErrNotAccepted):
		l.k.refusal = calls.NotSent(codes.Unavailable, err.Error()).Err()
		l.gone()
	case code == trackRefused:
		l.k.untaken = true
		l.gone()
	default:
		l.k.refusal = status.Error(codes.Canceled, "the other side has given the call up")
		l.gone()
	}
}

// isOfStream reports whether an error is the end of one stream, and not of the connection.
func isOfStream(err error) bool {
	_, isCanceled := errors.AsType[*transport.CanceledError](err)
	return isCanceled || errors.Is(err, io.EOF) || errors.Is(err, transport.ErrNotAccepted)
}

// writeFailed notes that nothing can be written. A goroutine that reads learns why.
func (l *track) writeFailed(error) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.h != nil {
		l.gone()
	}
}

// watchWrite makes a write of a handler end with the handler's deadline. The caller holds the
// mutex of the writer.
func (l *track) watchWrite() {
	if h := l.h; h != nil && !h.watchesWrite { // it is the caller's
		h.watchesWrite = true
		ctx := h.ctx
		context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) { // not the end of the handler
				_ = l.str.SetWriteDeadline(past)
			}
		})
	}
}

// goesOn decides whether the track may carry another call. The end of this one says so to the
// caller: a caller that still sends must not begin another call behind that. A goroutine that has
// outlived its handler, and still reads, would take the beginning of the next call.
func (l *track) goesOn() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.answered, l.again = true, l.halved && !l.canceled && !l.reading
	return l.again
}
