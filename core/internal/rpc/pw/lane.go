package pw

import (
	"context"
	"net"
	"sync/atomic"
)

// lane is where large messages take turns, a piece each. What a socket holds is ahead of a
// small frame: it is little when calls are beside each other, and much when one call is alone.
type lane struct {
	turn   chan struct{}
	socket *net.UnixConn // nil if the system knows best
	wide   atomic.Bool   // the socket holds much
	alone  atomic.Int32  // pieces in turn of a call that is alone
}

const (
	// wideBuffer is how many bytes a Unix socket takes for one call before a write waits.
	// With the system's 208 KiB each large piece waits for the other side to read.
	wideBuffer = 512 << 10
	// narrowBuffer is that for calls beside each other. The kernel doubles it.
	narrowBuffer = 32 << 10
	// narrowPiece is the size of a piece then.
	narrowPiece = 64 << 10
	// piecesAlone is how many pieces a call sends alone until the socket holds much again.
	piecesAlone = 16
)

func newLane(conn net.Conn) *lane {
	l := &lane{turn: make(chan struct{}, 1)}
	l.alone.Store(piecesAlone)
	l.socket, _ = conn.(*net.UnixConn)
	l.hold(true)
	return l
}

// enter waits for the turn.
func (l *lane) enter(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *lane) leave() { <-l.turn }

// pieceSize returns the size of the next piece, and sets what the socket holds.
func (l *lane) pieceSize(beside bool) int {
	if beside {
		l.alone.Store(0)
		l.hold(false)
		return narrowPiece
	}
	if l.alone.Load() < piecesAlone && l.alone.Add(1) < piecesAlone {
		return narrowPiece
	}
	l.hold(true)
	return pieceSize
}

func (l *lane) hold(much bool) {
	if l.socket == nil || l.wide.Swap(much) == much {
		return
	}
	size := narrowBuffer
	if much {
		size = wideBuffer
	}
	_ = l.socket.SetWriteBuffer(size) // another size is slower, and no more
}
