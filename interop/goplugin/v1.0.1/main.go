// Command v1.0.1 is the peer on go-plugin v1.0.1.
package main

import (
	_ "github.com/hashicorp/go-plugin" // selects the release of this module

	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/goplugin"
)

func main() { peer.Main(goplugin.Release{NoStdio: true}) }
