package session

import (
	"net"
	"sync"
)

// Single returns a listener that yields s and then nothing until it is closed,
// and s with it: how a host serves the plugin's calls on a stream that it has
// opened itself.
func Single(s *Stream) net.Listener {
	l := &single{conn: s.Conn, stream: make(chan *Stream, 1), closed: make(chan struct{})}
	l.stream <- s
	return l
}

type single struct {
	conn   net.Conn
	stream chan *Stream
	closed chan struct{}
	once   sync.Once
	err    error
}

// Accept implements [net.Listener].
func (l *single) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case s := <-l.stream:
		return s, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *single) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.err = l.conn.Close()
	})
	return l.err
}

// Addr implements [net.Listener].
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }
