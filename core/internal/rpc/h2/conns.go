package h2

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// serverConn is a connection of a server, as grpc accepts it.
type serverConn struct {
	*session.Stream
	server *Server
	stream net.Conn    // what grpc reads and writes; set before the first call
	called atomic.Bool // a call has come on the connection
}

// Close implements [net.Conn]. grpc calls it for a connection that it does not serve.
func (c *serverConn) Close() error {
	c.server.idle.remove(c)
	return c.Stream.Close()
}

// callerConn returns the connection on which a call came, by the call's context. It
// returns nil for any other context.
func callerConn(ctx context.Context) *serverConn {
	info := calls.Caller(ctx)
	if info == nil {
		return nil
	}
	c, _ := info.Conn.(*serverConn)
	return c
}

// noteCall notes that a call has come on its connection.
func noteCall(ctx context.Context) {
	if c := callerConn(ctx); c != nil && !c.called.Load() {
		c.server.idle.remove(c)
		c.called.Store(true)
	}
}

// idleConns are the connections on which no call has come yet. HTTP/2 may have begun on
// them. When grpc stops, it waits 10 s for a connection that does not begin HTTP/2, and 6 s
// for one that does not answer a ping. No call is lost with these connections, so a stop
// closes them first.
type idleConns struct {
	mu    sync.Mutex               // guards the fields below
	conns map[*serverConn]net.Conn // the values are what grpc reads and writes
	prune int                      // at this size of conns, add removes ended connections
	ended bool                     // end was called: add refuses new connections
}

// minPrune is the lowest value of prune. prune grows with conns, so that add does not
// look through all of them each time.
const minPrune = 64

// add takes a connection that was accepted, and reports whether it is wanted.
func (i *idleConns) add(c *serverConn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return false
	}
	if i.conns == nil {
		i.conns, i.prune = make(map[*serverConn]net.Conn), minPrune
	}
	if len(i.conns) >= i.prune {
		maps.DeleteFunc(i.conns, func(_ *serverConn, conn net.Conn) bool { return isLost(conn) })
		i.prune = max(minPrune, 2*len(i.conns))
	}
	i.conns[c] = c.Conn
	return true
}

// replace notes what grpc reads and writes from now on.
func (i *idleConns) replace(c *serverConn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.conns[c]; ok {
		i.conns[c] = c.stream
	}
}

func (i *idleConns) remove(c *serverConn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.conns, c)
}

// end closes all idle connections, and those that come later.
func (i *idleConns) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	for _, conn := range i.conns {
		_ = conn.Close() // no call is lost with it
	}
	clear(i.conns)
}

// servedListener yields the streams of ln, each as a *serverConn.
type servedListener struct {
	net.Listener
	server *Server
}

// Accept implements [net.Listener].
func (l *servedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		stream, ok := conn.(*session.Stream)
		if !ok {
			return nil, fmt.Errorf("a %T is not a stream of a session", conn)
		}
		c := &serverConn{Stream: stream, server: l.server}
		if l.server.idle.add(c) {
			return c, nil
		}
		_ = conn.Close() // the server has stopped
	}
}
