// Command plugwire-peer is the peer on Plugwire; see package peer.
package main

import "github.com/plugwire/plugwire/interop/peer"

func main() { peer.Main(framework{}) }

// framework is the [peer.Framework] on Plugwire.
type framework struct{}

var _ peer.Framework = framework{}
