// Command versioned-plugin is the sample's plugin. It serves both versions of
// its protocol, and chooses the highest that the host speaks. A host starts it,
// for example versioned-host. Started by hand, it only explains that.
package main

import (
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/versioned/compat"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	newest := processor.New()
	plugin.Main(
		protocol.Join(
			example.ServeDataProcessorV2(newest),
			example.ServeDataProcessorV1(compat.NewV1(newest))),
		plugin.WithTransports(unix.New(), quic.New(), tcp.New()),
		plugin.WithMaxMessageSize(processor.MaxMessageSize))
}
