//go:build unix

package quic

import (
	"errors"
	"net"
	"syscall"
)

// bufferSizes returns the sizes of a socket's buffers, as the system counts.
func bufferSizes(socket *net.UDPConn) (read, write int, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var readErr, writeErr error
	err = raw.Control(func(fd uintptr) {
		read, readErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		write, writeErr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	})
	return read, write, errors.Join(err, readErr, writeErr)
}
