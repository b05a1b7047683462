// Command v1.4.0 is the peer on go-plugin v1.4.0.
package main

import (
	_ "github.com/hashicorp/go-plugin" // in the release that this module is about

	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/goplugin"
)

func main() { peer.Main(goplugin.Release{}) }
