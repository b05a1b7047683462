package rpc

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// track returns a connection of which [isClosed] can tell whether this side has
// closed it: conn itself if it is a socket.
func track(conn net.Conn) net.Conn {
	if _, ok := conn.(syscall.Conn); ok {
		return conn
	}
	return &tracked{Conn: conn}
}

type tracked struct {
	net.Conn
	closed atomic.Bool
}

// Close implements [net.Conn].
func (t *tracked) Close() error {
	t.closed.Store(true)
	return t.Conn.Close()
}

func isClosed(conn net.Conn) bool {
	switch c := conn.(type) {
	case *tracked:
		return c.closed.Load()
	case syscall.Conn:
		raw, err := c.SyscallConn()
		return err != nil || errors.Is(raw.Control(func(uintptr) {}), net.ErrClosed)
	default:
		return false
	}
}
