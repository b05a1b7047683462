package h2

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// lastReadTimeout bounds the reading of what the other side sent before it ended. That is in
// a buffer of the system, so no application delays it.
const lastReadTimeout = 10 * time.Second

// track returns a connection that [isLost] takes. It is conn itself if that is a socket that
// the system can report on.
func track(conn net.Conn) net.Conn {
	if _, ok := conn.(syscall.Conn); ok && socketsTell {
		return conn
	}
	return &trackedConn{Conn: conn}
}

// trackedConn notes its own end.
type trackedConn struct {
	net.Conn
	lost atomic.Bool // set when a Read or a Write has failed, or by Close
}

// Read implements [net.Conn].
func (t *trackedConn) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if err != nil {
		t.lost.Store(true)
	}
	return n, err
}

// Write implements [net.Conn]. grpc fails calls as soon as it cannot write, and gives the
// connection up when it cannot read. Calls wait until grpc has given it up, so a peer that
// ends only one direction must not delay that without a bound.
func (t *trackedConn) Write(b []byte) (int, error) {
	n, err := t.Conn.Write(b)
	if err != nil && !t.lost.Swap(true) {
		_ = t.SetReadDeadline(time.Now().Add(lastReadTimeout)) // fails only if the connection is closed
	}
	return n, err
}

// Close implements [net.Conn].
func (t *trackedConn) Close() error {
	t.lost.Store(true)
	return t.Conn.Close()
}

// isLost reports whether nothing can be sent on a connection of track any more: this side
// has closed it, or the other side is gone. grpc learns the latter first when it writes, and
// again when it has read all that is left. A call that fails in between fails on a
// connection that grpc still takes for whole.
func isLost(conn net.Conn) bool {
	switch c := conn.(type) {
	case *trackedConn:
		return c.lost.Load()
	case syscall.Conn:
		raw, err := c.SyscallConn()
		if err != nil {
			return true
		}
		lost := false
		err = raw.Control(func(fd uintptr) { lost = hungUp(fd) })
		return err != nil || lost
	default:
		return false
	}
}
