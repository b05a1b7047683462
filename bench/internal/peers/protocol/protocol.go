// Package protocol is what both sides of the Plugwire peers agree on.
package protocol

import (
	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/core/protocol"
)

// Echo is the protocol of the service, which each side serves to the other.
var Echo = protocol.New("bench", 1, &echopb.Echo_ServiceDesc)
