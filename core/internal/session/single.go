package session

import (
	"net"
	"sync"
)

// Single returns a listener that yields s and then nothing until it is closed:
// how a host serves the plugin's calls on a stream that it has opened itself.
func Single(s *Stream) net.Listener {
	l := &single{addr: s.LocalAddr(), stream: make(chan *Stream, 1), closed: make(chan struct{})}
	l.stream <- s
	return l
}

type single struct {
	addr   net.Addr
	stream chan *Stream
	closed chan struct{}
	once   sync.Once
}

// Accept implements [net.Listener].
func (l *single) Accept() (net.Conn, error) {
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
		select {
		case s := <-l.stream:
			_ = s.Close() // nobody has taken it
		default:
		}
	})
	return nil
}

// Addr implements [net.Listener].
func (l *single) Addr() net.Addr { return l.addr }
