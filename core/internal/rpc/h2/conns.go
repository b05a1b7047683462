package h2

import (
	"context"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/credentials"

	"github.com/plugwire/plugwire/core/internal/secure"
)

// serverConn is a connection on which calls may come in, as grpc accepts it.
type serverConn struct {
	net.Conn
	peer   *Peer
	stream net.Conn    // what grpc reads and writes; set before the first call
	called atomic.Bool // a call has come on the connection
}

// Close implements [net.Conn]. grpc calls it for a connection that it does not serve.
func (c *serverConn) Close() error {
	c.peer.idle.remove(c)
	return c.Conn.Close()
}

// caller returns the connection on which the call with this context came, or nil if
// the context is not that of a call.
func caller(ctx context.Context) *serverConn {
	info, _ := secure.FromContext(ctx)
	c, _ := info.Conn.(*serverConn)
	return c
}

// noteCall is called for each call before anything else.
func noteCall(ctx context.Context) {
	if c := caller(ctx); c != nil && !c.called.Load() {
		c.peer.idle.remove(c)
		c.called.Store(true)
	}
}

// idleConns are the connections on which no call has come yet, whether HTTP/2 has begun
// on them or not. grpc waits for them when it stops: 10 s for one that does not begin
// HTTP/2, 6 s for one that does not answer a ping. Nothing is lost with them, so a stop
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

// replace notes what grpc reads and writes after the two sides were authenticated.
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

// servedListener accepts the connections of a peer.
type servedListener struct {
	net.Listener
	peer *Peer
}

// Accept implements [net.Listener].
func (l *servedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &serverConn{Conn: conn, peer: l.peer}
		if l.peer.idle.add(c) {
			return c, nil
		}
		_ = conn.Close() // it came too late
	}
}

// serverCredentials are those of the connections of a servedListener.
type serverCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements [credentials.TransportCredentials].
func (s serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*serverConn)
	if !ok {
		return s.TransportCredentials.ServerHandshake(raw)
	}
	conn, auth, err := s.TransportCredentials.ServerHandshake(c.Conn)
	if err != nil {
		return nil, nil, err
	}
	info, ok := auth.(secure.Info)
	if !ok { // calls could not be told from none
		c.peer.idle.remove(c)
		return conn, auth, nil
	}
	info.Conn = c
	c.stream = track(conn)
	c.peer.idle.replace(c)
	return c.stream, info, nil
}

// Clone implements [credentials.TransportCredentials].
func (s serverCredentials) Clone() credentials.TransportCredentials {
	return serverCredentials{s.TransportCredentials.Clone()}
}
