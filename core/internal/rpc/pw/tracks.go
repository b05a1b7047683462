package pw

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/transport"
)

// tracks are the tracks of a connection whose transport has streams of its own. Its first stream
// then carries only hello and goodbye.
type tracks struct {
	c      *conn
	mux    transport.Multiplexer
	lost   context.Context //nolint:containedctx // ends with the connection
	cancel context.CancelFunc

	// The mutex of the connection guards these.
	all     map[*track]struct{}
	idle    []*track           // of this side, and without a call; the last one was used last
	methods map[string]*method // of the other side's calls
}

// maxIdle is how many tracks without a call a side keeps. Each costs the other side a goroutine
// that waits.
const maxIdle = 128

func newTracks(c *conn, m transport.Multiplexer) *tracks {
	ls := &tracks{c: c, mux: m, all: make(map[*track]struct{}), methods: make(map[string]*method)}
	ls.lost, ls.cancel = context.WithCancel(context.Background())
	return ls
}

// accept serves what comes on the tracks of the other side, until the connection is lost.
func (ls *tracks) accept() {
	c := ls.c
	for {
		str, err := ls.mux.AcceptStream(ls.lost)
		if err != nil {
			c.lose(err)
			return
		}
		l := c.newTrack(str)
		c.mu.Lock()
		lost := c.lostWith != nil
		if !lost {
			ls.all[l] = struct{}{}
			c.active++
		}
		c.mu.Unlock()
		if lost {
			str.Cancel(trackLost)
			return
		}
		context.AfterFunc(str.Context(), l.otherGone)
		go l.serve()
	}
}

// get returns a track for a call.
func (ls *tracks) get() (*track, error) {
	c := ls.c
	c.mu.Lock()
	if n := len(ls.idle); n > 0 {
		l := ls.idle[n-1]
		ls.idle[n-1] = nil
		ls.idle = ls.idle[:n-1]
		c.mu.Unlock()
		return l, nil
	}
	c.mu.Unlock()
	str, err := ls.mux.OpenStream()
	switch {
	case errors.Is(err, transport.ErrStreamLimit):
		return nil, calls.NotSent(codes.ResourceExhausted, err.Error()).Err()
	case err != nil:
		c.lose(err)
		return nil, errUnsent
	}
	l := c.newTrack(str)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lostWith != nil {
		l.cancelLocked(trackLost)
		return nil, errUnsent
	}
	ls.all[l] = struct{}{}
	return l, nil
}

// put takes a track back that has carried a call. The caller holds the mutex of the connection.
func (ls *tracks) put(l *track, whole bool) {
	l.k = nil
	l.uses++
	if whole && !l.canceled && !l.reading && l.in.isEmpty() && ls.c.lostWith == nil && !ls.c.goodbye && len(ls.idle) < maxIdle {
		l.in.rest()
		ls.idle = append(ls.idle, l)
		return
	}
	delete(ls.all, l)
	l.uncount()
	l.cancelLocked(trackCanceled)
}

// end ends all tracks. The caller holds the mutex of the connection, which is lost.
func (ls *tracks) end() {
	ls.cancel()
	for l := range ls.all {
		l.cancelLocked(trackLost)
	}
}

// finish is the other side's goodbye: it has ended all calls, and refuses those that come. Unlike
// frames on one stream, their ends may come later than the goodbye. The connection ends when all
// have come. The caller holds the mutex of the connection.
func (ls *tracks) finish() error {
	c := ls.c
	if len(c.made) == 0 {
		return io.EOF
	}
	for _, k := range c.made {
		if !k.isUnary { // nobody may be reading
			c.workers.Go(func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				_ = k.l.await(context.Background(), &k.stream, wantEnd) // the context has no end
			})
		}
	}
	return nil
}

// forgot is called when a call of this side is over. The caller holds the mutex of the
// connection.
func (ls *tracks) forgot() {
	if c := ls.c; c.goodbye && len(c.made) == 0 {
		c.loseLocked(io.EOF)
	}
}
