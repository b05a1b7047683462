package pw

import (
	"context"
)

// beginOnTrack sends the beginning of the call, like begin.
func (k *call) beginOnTrack(m *message) error {
	c := k.c
	l, err := c.tracks.get()
	if err != nil {
		return err
	}
	l.w.mu.Lock()
	c.mu.Lock()
	if c.lostWith != nil || c.goodbye {
		c.tracks.put(l, false)
		c.mu.Unlock()
		l.w.mu.Unlock()
		return errUnsent
	}
	k.l, k.w, l.k = l, l.w, k
	k.allowed, k.credit = unlimited, unlimited
	k.id = c.number()
	c.made[k.id] = k
	c.inFlight.Add(1)
	use := l.uses
	c.mu.Unlock()
	if m != nil {
		l.w.widen(m.size)
	}
	if err := k.addOpen(m); err != nil {
		return err
	}
	if k.ctx.Done() != nil {
		k.stopWatch = context.AfterFunc(k.ctx, func() { l.cancelUse(use) })
	}
	l.w.flushFor(k.ctx)
	return nil
}

// cancelUse ends the track if it still carries the same call.
func (l *track) cancelUse(use uint64) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.uses == use {
		l.cancelLocked(trackCanceled)
	}
}

// leaveTrack gives the track of a call back, which is over.
func (k *call) leaveTrack() {
	if k.stopWatch != nil {
		k.stopWatch()
	}
	k.l.w.rest()
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tracks.put(k.l, k.hasEnd && k.again)
}
