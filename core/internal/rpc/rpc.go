// Package rpc is how calls travel over a session: today gRPC over HTTP/2, which
// is the package h2. What every wire needs is the package calls.
package rpc

import (
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
)

type (
	// Peer is one side's end of a session.
	Peer = h2.Peer
	// Config says what a Peer does.
	Config = h2.Config
	// Limits bound what the other side's calls may hold of this side.
	Limits = calls.Limits
	// Registrar takes services and tells which it has.
	Registrar = calls.Registrar
)

// DefaultMaxMessageSize is the limit on one message if no option says another.
const DefaultMaxMessageSize = calls.DefaultMaxMessageSize

// New makes a peer.
func New(cfg Config) (*Peer, error) { return h2.New(cfg) }
