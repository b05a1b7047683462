//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/tcp"
)

// cubic is tcp with the congestion control that is the default of most systems
// and similar to QUIC's. This system's default may differ.
type cubic struct{ *tcp.Transport }

// Listen implements [transport.Transport].
func (c cubic) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	ln, err := c.Transport.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return cubicListener{ln}, nil
}

// Dial implements [transport.Transport].
func (c cubic) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	return pinned(c.Transport.Dial(ctx, cfg))
}

type cubicListener struct{ net.Listener }

func (l cubicListener) Accept() (net.Conn, error) { return pinned(l.Listener.Accept()) }

// pinned sets the congestion control of a connection that was just made.
func pinned(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	if err := pin(conn.(*net.TCPConn)); err != nil {
		return nil, errors.Join(fmt.Errorf("congestion control cubic: %w", err), conn.Close())
	}
	return conn, nil
}

func pin(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, "cubic")
	})
	return errors.Join(err, refused)
}
