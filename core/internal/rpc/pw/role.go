package pw

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// goBackground gives the role to a new goroutine in the background. The caller holds mu, and
// the role is the caller's or nobody's.
func (c *conn) goBackground() {
	c.reading, c.reader = true, nil
	c.progress++
	c.active++
	go c.background()
}

// keepReading gives the role to the background at once, if it is nobody's: something is
// expected that is for no call.
func (c *conn) keepReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reading && c.lostWith == nil {
		c.goBackground()
	}
}

// evict makes a goroutine return that reads. The caller holds mu.
func (c *conn) evict() {
	c.evicted = true
	_ = c.stream.SetReadDeadline(past)
}

// background reads until there is nobody left to read for. A handler that it runs may end
// its goroutine, so it defers nothing.
func (c *conn) background() {
	c.mu.Lock()
	c.handed = false
	for c.lostWith == nil && c.readOne() { // the reading is all
	}
	c.rest()
	c.mu.Unlock()
}

// readOne handles one frame, or reads more. It reports whether the background still has the
// role.
func (c *conn) readOne() bool {
	f, ok, err := c.in.frame()
	if ok {
		var h *handling
		if h, err = c.handle(f); err == nil {
			return h == nil || c.runInline(h)
		}
	}
	if err == nil {
		if !c.flushOut() {
			return false
		}
		if c.handed && len(c.served) <= 1 && !c.expectsCalls() {
			c.leave()
			return false
		}
		if err = c.fill(); errors.Is(err, errEvicted) { // meant for a reader before
			return true
		}
	}
	if err != nil {
		c.loseLocked(err)
		return false
	}
	return true
}

// runInline runs a handler in the goroutine of the background, which gives the role away
// meanwhile. It reports whether it has the role again.
func (c *conn) runInline(h *handling) bool {
	c.reading = false
	c.progress++
	c.inline = h.method
	c.arm()
	if c.slept {
		c.slept = false
		go findNothing()
	}
	h.batched = c.in.hasFrame() && c.frames%answersAtOnce != 0
	c.rest() // the handler may end this goroutine, or never return
	c.mu.Unlock()
	h.serve()
	c.mu.Lock()
	c.active++
	c.inline = nil
	if c.reading || c.lostWith != nil {
		if c.w.unsent.Swap(false) {
			c.mu.Unlock()
			c.w.mu.Lock()
			c.w.flush()
			c.mu.Lock()
		}
		return false
	}
	c.reading, c.reader = true, nil
	c.progress++
	return true
}

// answersAtOnce is how many answers of handlers that the background runs share a write. With
// one write for all calls of a read, each side waits while the other works: 64 callers made a
// sixth fewer calls. With writes for 4 answers, the writes take more than that.
const answersAtOnce = 12

const (
	// sleepTime is how long a read takes at least whose thread has slept.
	sleepTime = 20 * time.Microsecond
	// fewFrames is how many frames there are at most between two reads when few calls come at
	// once. With 64 callers, a wake-up for each read would cost a twentieth of all calls.
	fewFrames = 8
)

// findNothing is a goroutine for a thread that wakes up for it, if a processor is free. The
// thread then waits for timers and sockets, as one thread at a time does in Go. If it was the
// reader's thread that waited until the call came, no other has taken its place. While the
// reader's handler computes, nobody would see the tick for up to 20 ms.
func findNothing() {}

// flushOut sends what the handlers that the background ran have left. It gives the role away
// meanwhile, and reports whether it has it again.
func (c *conn) flushOut() bool {
	if !c.w.unsent.Swap(false) {
		return true
	}
	c.reading = false
	c.progress++
	c.arm()
	c.mu.Unlock()
	c.w.mu.Lock()
	c.w.flush()
	c.mu.Lock()
	if c.reading || c.lostWith != nil {
		return false
	}
	c.reading, c.reader = true, nil
	c.progress++
	return true
}

// fill reads from the connection. It unlocks mu meanwhile.
func (c *conn) fill() error {
	handed, frames := c.handed, c.frames
	c.handed, c.frames = false, 0
	dst := c.pieceFor()
	c.mu.Unlock()
	var err error
	n := 0
	if frames <= 1 && !handed {
		c.spinner.spin()
	}
	began := time.Now()
	if dst != nil {
		n, err = c.stream.Read(dst)
		c.in.left -= n
		if n > 0 && errors.Is(err, io.EOF) {
			err = nil // the next read says so again
		}
	} else {
		err = c.in.fill(c.stream.Conn)
	}
	slept := time.Since(began) > sleepTime
	c.mu.Lock()
	c.slept = slept && frames <= fewFrames
	if s := c.streamOf(c.in.id); n > 0 && s != nil && c.lostWith == nil { // else the call may be used again
		s.took(dst, n)
	}
	c.progress++
	if c.evicted {
		c.evicted = false
		_ = c.stream.SetReadDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errEvicted
		}
		c.arm() // the reader goes on, and its context may end
	}
	return err
}

// pieceFor returns where the rest of a piece goes that is under way. It is nil if there is
// none, or if what was read has not been handled yet.
func (c *conn) pieceFor() []byte {
	if c.in.left == 0 || c.in.r < c.in.w {
		return nil
	}
	s := c.streamOf(c.in.id)
	if s == nil || s.large == nil || s.size-len(s.large) < c.in.left {
		return nil // the handling of the piece says what is wrong
	}
	s.grow(c.in.left)
	return s.large[len(s.large) : len(s.large)+c.in.left]
}

// streamOf returns the call with that number; nil if it has ended. The caller holds mu.
func (c *conn) streamOf(id uint32) *stream {
	if k := c.made[id]; k != nil {
		return &k.stream
	}
	if h := c.served[id]; h != nil {
		return &h.stream
	}
	return nil
}

var errEvicted = errors.New("told to leave")

// readAs reads for a call, until it has what it waits for. The caller holds mu and has the
// role. lent means that a quick handler runs, whose goroutine passes the role on.
func (c *conn) readAs(ctx context.Context, k *stream, want want) (lent bool) {
	mayLeave := mayEnd(ctx)
	c.reader, c.mayLeave = k, mayLeave
	c.progress++
	if c.w.unsent.Load() && c.w.unsent.Swap(false) {
		c.w.wakeFlusher() // the background runs a handler, which may block
	}
	if mayLeave {
		c.arm()
	}
	evicted := false
	for c.lostWith == nil && !evicted {
		f, ok, err := c.in.frame()
		if err != nil {
			c.loseLocked(err)
			break
		}
		if ok {
			h, err := c.handle(f)
			if err != nil {
				c.loseLocked(err)
				break
			}
			if h != nil {
				go h.serveAndRead()
				if lent = !c.in.hasFrame() && !k.has(want); lent {
					c.inline = h.method
					break
				}
			}
			continue
		}
		if k.has(want) || mayLeave && ctx.Err() != nil {
			break
		}
		if err := c.fill(); errors.Is(err, errEvicted) {
			evicted = true
		} else if err != nil {
			c.loseLocked(err)
		}
	}
	c.reader = nil
	if evicted && !k.has(want) && c.lostWith == nil {
		c.goBackground()
		return false
	}
	c.leave()
	return lent
}

// leave gives the role away. The caller holds mu and has the role.
func (c *conn) leave() {
	c.reading, c.reader = false, nil
	c.progress++
	c.passOn()
}

// expectCalls is how often the background takes the role at once, after it has read a call of
// the other side. A role that is nobody's delays the next such call by up to two ticks.
const expectCalls = 64

// expectsCalls reports whether the background reads though no call waits: the other side has
// begun a call by itself lately. While this side serves a call, its handler may call back,
// and is faster if it reads itself. The caller holds mu.
func (c *conn) expectsCalls() bool {
	if len(c.served) > 0 {
		return false
	}
	c.expected = max(c.expected-1, 0)
	return c.expected > 0
}

// passOn wakes a call that can take the role, if the role is nobody's. If no call waits, the
// background takes the role when the other side may begin a call. The caller holds mu.
func (c *conn) passOn() {
	if c.reading || c.lostWith != nil {
		return
	}
	if k := c.waiting.first; k != nil {
		k.wakeUp()
	} else if c.expectsCalls() {
		c.goBackground()
		return
	}
	c.arm()
}
