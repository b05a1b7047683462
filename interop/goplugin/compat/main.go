// Command compat is the peer on Plugwire's module with go-plugin's API: the code of the other
// peers, and one line in go.mod.
package main

import (
	"github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/goplugin"
)

func main() {
	peer.Main(goplugin.Release{Multiplex: func(cfg *plugin.ClientConfig) { cfg.GRPCBrokerMultiplex = true }})
}
