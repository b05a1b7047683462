// Command v1.6.3 is the peer on go-plugin v1.6.3.
package main

import (
	"github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/goplugin"
)

func main() {
	peer.Main(goplugin.Release{Multiplex: func(cfg *plugin.ClientConfig) { cfg.GRPCBrokerMultiplex = true }})
}
