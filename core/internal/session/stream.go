package session

import (
	"net"

	"github.com/plugwire/plugwire/core/internal/secure"
)

// Stream is an authenticated stream of a session.
type Stream struct {
	net.Conn
	// Info describes the other side.
	Info secure.Info
	// Purpose is what the host opened the stream for.
	Purpose Purpose
	// Session is the identity of the session, which the host has chosen. It is empty for a
	// host that chooses none.
	Session string
}
