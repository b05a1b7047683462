package h2

import (
	"net"
	"sync"

	"github.com/plugwire/plugwire/core/internal/session"
)

// queue is a listener that yields the streams that are put into it: grpc serves only
// what a listener yields.
type queue struct {
	streams chan *session.Stream
	closed  chan struct{}
	once    sync.Once
}

func newQueue() *queue {
	return &queue{streams: make(chan *session.Stream), closed: make(chan struct{})}
}

// put gives a stream to Accept. After Close it closes the stream.
func (q *queue) put(s *session.Stream) {
	select {
	case q.streams <- s:
	case <-q.closed:
		_ = s.Close() // no call is lost with it
	}
}

// Accept implements [net.Listener].
func (q *queue) Accept() (net.Conn, error) {
	select {
	case <-q.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case s := <-q.streams:
		return s, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements [net.Listener].
func (q *queue) Addr() net.Addr { return queueAddr{} }

// queueAddr is the address of a queue, which has none.
type queueAddr struct{}

func (queueAddr) Network() string { return "session" }
func (queueAddr) String() string  { return "session" }
