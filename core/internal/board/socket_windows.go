package board

import (
	"errors"
	"net"
)

// Supported says whether this system has the endpoint.
const Supported = false

// socket is not used on this system.
type socket struct{ net.Listener }

func listen() (*socket, error) { return nil, errors.ErrUnsupported }

func (*socket) remove() {}

func isOwn(net.Conn) bool { return false }
