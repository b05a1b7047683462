// Command dataprocessor-plugin is the sample's plugin. A host starts it, for
// example dataprocessor-host. Started by hand, it only explains that.
package main

import (
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/dataprocessor/processor"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	plugin.Main(example.ServeDataProcessor(processor.New()),
		plugin.WithTransports(unix.New(), quic.New(), tcp.New()),
		plugin.WithMaxMessageSize(processor.MaxMessageSize))
}
