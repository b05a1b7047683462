package pw

import (
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// serve serves the calls that come on a track of the other side, one after the other.
func (l *track) serve() {
	inHandler := false
	defer func() {
		if inHandler && l.served() { // the handler has ended the goroutine
			go l.serve()
			return
		}
		l.leave()
	}()
	for {
		h := l.awaitOpen()
		if h == nil {
			return
		}
		inHandler = true
		h.serve()
		inHandler = false
		if !l.served() {
			return
		}
	}
}

// served is the end of a handler. It reports whether the track goes on.
func (l *track) served() bool {
	c := l.c
	l.w.rest()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active++
	if !l.again || l.canceled {
		return false
	}
	l.h, l.halved, l.answered, l.again = nil, false, false, false
	l.in.rest()
	return true
}

// leave is the end of the track. What was written still arrives.
func (l *track) leave() {
	c := l.c
	l.w.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tracks.all, l)
	l.uncount()
	if l.answered && !l.canceled {
		l.canceled = true
		_ = l.str.Close() // nobody is left to get the error
	} else {
		l.cancelLocked(trackCanceled)
	}
	c.rest()
}

// otherGone ends the call that a track carries when the caller has ended the track.
func (l *track) otherGone() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.gone()
}

// awaitOpen waits for a call, and returns nil at the end of the track.
func (l *track) awaitOpen() *handling {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.lostWith == nil && !l.canceled {
		f, ok, err := l.in.frame()
		if err == nil && ok {
			l.uncount()
			var h *handling
			if h, err = l.open(f); h != nil {
				return h
			}
		}
		switch {
		case err != nil:
			c.loseLocked(err)
		case ok && l.answered: // the caller of a call that was refused still sends
			return nil
		case ok:
		case !l.count():
			l.cancelLocked(trackNoRoom)
		case !l.fillIdle():
			return nil
		}
	}
	return nil
}

// fillIdle reads more while the track carries no call. It reports false at the end of the track.
func (l *track) fillIdle() bool {
	l.c.mu.Unlock()
	err := l.ignoreDeadline(l.in.fill(l.str))
	l.c.mu.Lock()
	if err != nil && !l.canceled && !isOfStream(err) {
		l.c.loseLocked(err)
	}
	return err == nil
}

// open begins a call of the other side. It returns nil for one that is refused.
func (l *track) open(f frame) (*handling, error) {
	c := l.c
	if f.kind != frameOpen {
		return nil, broken("a frame of kind %d before a call begins", f.kind)
	}
	if c.noMore {
		l.cancelLocked(trackRefused)
		return nil, nil //nolint:nilnil // it is nobody's
	}
	h := c.newHandling(frame{payload: f.payload}) // the number follows
	h.w, h.l = l.w, l
	h.allowed, h.credit = unlimited, unlimited
	if err := h.parseOpen(f.payload); err != nil {
		return nil, err
	}
	l.halved = h.alone
	if err := c.refusal(h); err != nil {
		return nil, l.refuse(err)
	}
	for h.id == 0 || c.served[h.id] != nil { // on a track the number is only for this side
		c.last++
		h.id = c.last
	}
	h.limit, h.room = c.server.cfg.MaxMessageSize, &c.server.room
	l.h = h
	c.served[h.id] = h
	c.inFlight.Add(1)
	c.server.handlers.Add(1)
	c.rest()
	return h, nil
}

// refuse ends a call that this side does not serve. The caller holds the mutex of the connection,
// which refuse unlocks meanwhile.
func (l *track) refuse(why error) error {
	b, err := proto.Marshal(status.Convert(why).Proto())
	if err != nil {
		return err
	}
	flags := endStatus
	if l.halved {
		flags |= endAgain
	}
	l.c.mu.Unlock()
	l.w.mu.Lock()
	l.w.add(frameEnd, 0, appendBlock([]byte{flags}, b))
	l.w.flush()
	l.c.mu.Lock()
	l.answered = !l.halved
	return nil
}
