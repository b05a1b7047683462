//go:build !unix

package quic

import (
	"errors"
	"net"
)

// bufferSizes returns the sizes of a socket's buffers. No limit of this system
// is known.
func bufferSizes(*net.UDPConn) (read, write int, err error) { return 0, 0, errors.ErrUnsupported }
