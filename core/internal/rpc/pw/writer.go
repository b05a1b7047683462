package pw

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// maxUnsent is how many bytes of a connection may wait to be written until those who add more
// wait too.
const maxUnsent = 1 << 20

// maxOwed is how many bytes of answers to refused calls may wait to be written. A peer that
// goes on opening calls, and does not read, loses the connection.
const maxOwed = 4 << 20

// roundsInTurn is how many writes a goroutine makes in turn, of frames that others have added
// meanwhile. The flusher makes those after them.
const roundsInTurn = 8

// lazyFlush is how many bytes of a stream gather until they are written by the goroutine
// that sends them, and not by the flusher.
const lazyFlush = 64 << 10

// writer writes frames. The goroutine that adds a frame writes it, with the frames that others
// have added meanwhile: no goroutine has to wake up, and many frames share a write.
type writer struct {
	raw    net.Conn
	header int // length of a frame's header
	most   int // bytes that may wait to be written until those who add more wait too
	// interruptible is set if a write can be ended without the end of the connection. TLS
	// does not survive that.
	interruptible bool
	socket        syscall.RawConn  // below TLS; nil if there is none
	look          func(fd uintptr) // a field, so that a write does not allocate it
	writable      bool             // what look saw; guarded by mu
	inFlight      *atomic.Int32    // calls of the connection: with more than one, a write waits for others to add frames
	failed        func(error)      // called once, without the lock
	lane          *lane
	watch         func() // makes a tick come, which takes a goroutine out of a write that lasts

	mu      sync.Mutex // guards the fields below
	changed sync.Cond  // busy has become false, or err is set
	buf     []byte     // frames that are not written
	spare   []byte     // an empty buffer for the next frames; shares no memory with buf
	busy    bool       // a goroutine writes
	writes  uint64     // how often a write began
	patient bool       // the goroutine that writes may wait
	// writing is the context of the goroutine that writes a large message, which nobody else
	// needs: it is taken out only when the context has ended.
	writing context.Context //nolint:containedctx // for the time of a write
	err     error           // why nothing can be written any more

	owing sync.Mutex // guards owed; may be locked while any other mutex is held
	owed  []byte     // frames that the reader leaves to others to write

	over   atomic.Bool   // the connection is lost: nothing is written any more
	unsent atomic.Bool   // frames were added that nobody is going to write
	kick   chan struct{} // wakes the flusher; nil for a writer that has none, see flushSoon
	soon   atomic.Bool   // flushSoon has started a goroutine that has not begun
}

func newWriter(raw net.Conn, inFlight *atomic.Int32, failed func(error), watch func()) *writer {
	w := &writer{raw: raw, header: headerLen, most: maxUnsent, interruptible: isInterruptible(raw), inFlight: inFlight, failed: failed, lane: newLane(raw), watch: watch, kick: make(chan struct{}, 1)}
	w.changed.L = &w.mu
	w.socket = socketOf(raw)
	w.look = func(fd uintptr) { w.writable = isWritable(fd) }
	return w
}

// flusher writes what is left to it, until the connection ends.
func (w *writer) flusher(ended <-chan struct{}) {
	for {
		select {
		case <-w.kick:
			w.mu.Lock()
			w.pay()
			w.flush()
		case <-ended:
			return
		}
	}
}

// later leaves the frames to the flusher. It unlocks mu, which the caller holds.
func (w *writer) later() {
	wake := !w.busy && len(w.buf) > 0
	w.mu.Unlock()
	if wake {
		w.wakeFlusher()
	}
}

func (w *writer) wakeFlusher() {
	if w.kick == nil {
		w.flushSoon()
		return
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// flushSoon writes in a goroutine of its own. The frames that are added until it runs go along.
func (w *writer) flushSoon() {
	if w.soon.Swap(true) {
		return
	}
	go func() {
		w.soon.Store(false)
		w.mu.Lock()
		w.flush()
	}()
}

// owe leaves a whole frame to the flusher. It never waits, and reports whether there is room.
func (w *writer) owe(k kind, id uint32, payload []byte) bool {
	w.owing.Lock()
	defer w.owing.Unlock()
	if len(w.owed)+headerLen+len(payload) > maxOwed {
		return false
	}
	var header [headerLen]byte
	putHeader(header[:], k, id, len(payload))
	w.owed = append(append(w.owed, header[:]...), payload...)
	w.wakeFlusher()
	return true
}

// pay adds the frames that are owed, once those before them are on their way. The caller
// holds mu.
func (w *writer) pay() {
	if len(w.buf) >= maxUnsent || w.err != nil {
		return
	}
	w.owing.Lock()
	w.buf = append(w.buf, w.owed...)
	w.owed = nil
	w.owing.Unlock()
}

// flushFor writes like flush, for a goroutine that waits no longer than ctx. It unlocks mu,
// which the caller holds.
func (w *writer) flushFor(ctx context.Context) {
	if !mayEnd(ctx) {
		w.flush()
		return
	}
	if !w.interruptible {
		w.flushRounds(roundsInTurn, w.hasRoom)
		return
	}
	if !w.busy && len(w.buf) > 0 {
		w.watch()
	}
	w.flushRounds(roundsInTurn, nil)
}

// begin adds the header of a frame whose payload the caller adds to buf, and then calls
// end with what begin returned. The caller holds mu.
func (w *writer) begin(k kind, id uint32) int {
	at := len(w.buf)
	w.buf = append(w.buf, make([]byte, w.header)...)
	putHeader(w.buf[at:], k, id, 0)
	return at
}

func (w *writer) end(at int) {
	putLength(w.buf[at:], len(w.buf)-at-w.header)
}

// add adds a whole frame. The caller holds mu.
func (w *writer) add(k kind, id uint32, payload []byte) {
	at := w.begin(k, id)
	w.buf = append(w.buf, payload...)
	w.end(at)
}

// encode adds a message to the frame that begins at at. If the message fails to encode, or
// panics, the frame is gone and mu is unlocked. The caller holds mu.
func (w *writer) encode(m *message, at int) error {
	encoded := false
	defer func() {
		if !encoded {
			w.buf = w.buf[:at]
			w.later()
		}
	}()
	b, err := m.appendTo(w.buf)
	if err == nil {
		w.buf, encoded = b, true
	}
	return err
}

// flush writes what there is, unless another goroutine is writing, which then takes it along.
// It unlocks mu, which the caller holds.
func (w *writer) flush() { w.flushRounds(math.MaxInt, nil) }

// flushRounds is flush with a bound on the writes. What is left then, or may not be written
// now, is the flusher's.
func (w *writer) flushRounds(rounds int, may func() bool) {
	if w.busy || w.err != nil || len(w.buf) == 0 || w.over.Load() {
		w.mu.Unlock()
		return
	}
	w.busy = true
	for round := 0; len(w.buf) > 0 && w.err == nil; round++ {
		if w.inFlight.Load() > 1 {
			w.mu.Unlock()
			runtime.Gosched() // others may add frames
			w.mu.Lock()
		}
		if round == rounds || may != nil && !may() {
			w.busy = false
			w.changed.Broadcast()
			w.later()
			return
		}
		b := w.buf
		w.buf, w.spare = w.spare, nil // not both: rest gives them away
		w.writes++
		w.mu.Unlock()
		rest, err := w.write(b)
		w.mu.Lock()
		if len(rest) > 0 && err == nil { // it was taken out of the write
			w.unwritten(rest)
			return
		}
		if w.keep(b); err != nil {
			w.fail(err)
		}
	}
	w.free()
}

// roomFor is how many bytes a socket takes at once that is writable: a third of the smallest
// buffer that systems use.
const roomFor = 16 << 10

// hasRoom reports whether the frames can be written without waiting. The caller holds mu.
func (w *writer) hasRoom() bool {
	if w.socket == nil || len(w.buf) > roomFor {
		return false
	}
	w.writable = false
	return w.socket.Control(w.look) == nil && w.writable
}

// unwritten leaves bytes, and the writing, to a goroutine that has nothing else to do. It
// unlocks mu.
func (w *writer) unwritten(rest []byte) {
	w.buf = append(append(make([]byte, 0, len(rest)+len(w.buf)), rest...), w.buf...)
	w.patient = true
	w.mu.Unlock()
	go func() {
		w.mu.Lock()
		for len(w.buf) > 0 && w.err == nil {
			b := w.buf
			w.buf = nil
			w.mu.Unlock()
			_ = w.raw.SetWriteDeadline(time.Time{}) // fails only if the connection has ended, and then Write does
			_, err := w.raw.Write(b)
			w.mu.Lock()
			if err != nil {
				w.fail(err)
			}
		}
		w.patient = false
		w.free()
	}()
}

// write writes b. rest is what was not written because the writer was taken out.
func (w *writer) write(b []byte) (rest []byte, err error) {
	n, err := w.raw.Write(b)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return b[n:], nil
	}
	return nil, err
}

// keep keeps a buffer for later frames, if it is not too large. The caller holds mu.
func (w *writer) keep(b []byte) {
	if cap(b) <= maxUnsent {
		w.spare = b[:0]
	} else {
		w.spare = nil
	}
}

// free ends the writing. It unlocks mu.
func (w *writer) free() {
	w.busy = false
	w.changed.Broadcast()
	w.owing.Lock()
	owes := len(w.owed) > 0
	w.owing.Unlock()
	w.mu.Unlock()
	if owes {
		w.wakeFlusher()
	}
}

// fail notes why nothing can be written. The caller holds mu, which fail holds again when it
// returns.
func (w *writer) fail(err error) {
	if w.err != nil {
		return
	}
	w.err = err
	w.buf = nil
	w.changed.Broadcast()
	w.mu.Unlock()
	w.failed(err)
	w.mu.Lock()
}

// lock locks mu when there is room for another frame. It returns why there will be none.
func (w *writer) lock(ctx context.Context) error {
	w.mu.Lock()
	if len(w.buf) < w.most && w.err == nil {
		return nil
	}
	if !w.busy {
		w.wakeFlusher() // nobody writes what there is
	}
	return w.wait(ctx, func() bool { return len(w.buf) < w.most })
}

// wait waits for a state of the writer. It holds mu when it returns nil, and not otherwise.
func (w *writer) wait(ctx context.Context, state func() bool) error {
	if ctx.Done() != nil && !state() {
		stop := context.AfterFunc(ctx, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changed.Broadcast()
		})
		defer stop()
	}
	for !state() && w.err == nil && ctx.Err() == nil {
		w.changed.Wait()
	}
	switch {
	case w.err != nil:
		w.mu.Unlock()
		return errLost
	case ctx.Err() != nil:
		w.mu.Unlock()
		return ctx.Err()
	default:
		return nil
	}
}

// mayTakeOut reports whether the goroutine that writes has a reason to stop. The caller holds
// mu.
func (w *writer) mayTakeOut() bool {
	return w.interruptible && !w.patient && (w.writing == nil || w.writing.Err() != nil)
}

// takeOut makes a goroutine return that has written for long. What is left is written by one
// that may wait. The caller holds mu.
func (w *writer) takeOut() { _ = w.raw.SetWriteDeadline(past) }

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// isInterruptible reports whether a write to a connection can be ended without an end of the
// connection. That is so for a socket. A connection with TLS does not survive it, and a stream
// of yamux does not return before its session has written.
func isInterruptible(conn net.Conn) bool {
	_, ok := conn.(syscall.Conn)
	return ok
}

// settle waits until all frames are written.
func (w *writer) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && (w.busy || len(w.buf) > 0) {
		if w.busy {
			w.changed.Wait()
			continue
		}
		w.flush() // a header whose message was not sent
		w.mu.Lock()
	}
}

// widen makes room for a message of that size in the buffer of a track, which gives up large
// buffers between two calls. The caller holds mu.
func (w *writer) widen(message int) {
	if need := len(w.buf) + message; message > restingTrack && cap(w.buf) < need {
		w.buf = append(takeLarge(need+restingTrack), w.buf...)
	}
}

// rest gives up large buffers of a writer that is not used for a while.
func (w *writer) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cap(w.spare) > restingTrack {
		giveLarge(w.spare)
		w.spare = nil
	}
	if len(w.buf) == 0 && cap(w.buf) > restingTrack {
		giveLarge(w.buf)
		w.buf = nil
	}
}

// shut ends the writing.
func (w *writer) shut(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.buf = nil
	}
	w.changed.Broadcast()
}
