package h2

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// maxConns is how many connections a server has at a time. A host has one; go-plugin's
// hosts that attach, and clients that are not Go, have a few.
const maxConns = 64

// room bounds what all connections of a server hold together.
type room struct {
	conns   atomic.Int32
	held    atomic.Int64 // bytes that are taken for messages
	limit   int64        // of held
	largest uint32       // the limit on one message, which grpc enforces
	refused func()       // called for each message that does not fit
}

// newRoom returns the room of a server.
func newRoom(cfg calls.ServerConfig, limits calls.Limits) *room {
	r := &room{
		limit:   int64(limits.Buffered),
		largest: uint32(min(int64(cfg.MaxMessageSize), 1<<32-1)), //nolint:gosec // bounded
		refused: func() {},
	}
	if cfg.Logger != nil {
		var lines limiter
		r.refused = func() {
			lines.warn(cfg.Logger, "a message was refused: there is no room for it beside those that are on their way", "from", cfg.Other, "limit", limits.Buffered, "option", cfg.Side+".WithMaxBuffered")
		}
	}
	return r
}

// take reports whether there is room for that many bytes, and takes it.
func (r *room) take(size uint32) bool {
	if r.held.Add(int64(size)) <= r.limit {
		return true
	}
	r.give(size)
	return false
}

func (r *room) give(size uint32) { r.held.Add(-int64(size)) }

// servedConn is a connection of a server. It reads the headers of frames in both
// directions, and refuses messages for which there is no room.
type servedConn struct {
	net.Conn
	room *room

	kept []byte // read, and not yet given to the reader; belongs to Read

	mu       sync.Mutex // guards the fields below
	closed   bool
	incoming frameScanner
	outgoing frameScanner
	last     uint32             // the stream that was opened last
	streams  map[uint32]arrival // those that are open
	refusals int                // messages that were refused since Read last said so
}

func newServedConn(conn net.Conn, r *room) *servedConn {
	return &servedConn{Conn: conn, room: r, incoming: frameScanner{skip: prefaceLen}, streams: make(map[uint32]arrival)}
}

// Read implements [net.Conn].
func (c *servedConn) Read(b []byte) (int, error) {
	for {
		n := copy(b, c.kept)
		more, err := c.Conn.Read(b[n:])
		if more == 0 && (err != nil || n == 0) {
			return 0, err
		}
		n += more
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return 0, net.ErrClosed
		}
		given, broken := c.takeIn(b[:n], len(b) > prefixLen)
		refusals := c.refusals
		c.refusals = 0
		c.mu.Unlock()
		for range refusals {
			c.room.refused() // may log, and a log handler may call the other side
		}
		if broken != nil {
			return 0, broken
		}
		c.kept = append(c.kept[:0], b[given:n]...)
		if given > 0 || err != nil {
			return given, err
		}
	}
}

// Write implements [net.Conn].
func (c *servedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.sendOut(b)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// Close implements [net.Conn].
func (c *servedConn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.room.conns.Add(-1)
		for stream := range c.streams {
			c.end(stream)
		}
	}
	c.mu.Unlock()
	return c.Conn.Close()
}
