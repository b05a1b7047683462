package session

import (
	"net"

	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/transport"
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

// Multiplexed returns what opens and accepts further streams on the connection of the stream. It
// returns nil if only the host can open streams.
func (s *Stream) Multiplexed() transport.Multiplexer {
	conn := s.Conn
	if c, ok := conn.(*callsStream); ok {
		conn = c.Conn
	}
	m, _ := conn.(transport.Multiplexer)
	return m
}
