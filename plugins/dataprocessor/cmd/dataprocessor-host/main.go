// Command dataprocessor-host starts the data processor's plugin and sends it
// the lines of a file, asks for its status, or measures calls. See -h.
package main

import (
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/hostcli"
)

// maxMessage is the largest size of a request and a response, in bytes, from
// the .proto.
const maxMessage = 4 << 20

func main() {
	program := hostcli.Program{
		Name:          "dataprocessor-host",
		About:         "Starts the data processor's plugin, uses it and stops it again.",
		PluginPackage: "github.com/plugwire/plugwire/plugins/dataprocessor/cmd/dataprocessor-plugin",
		Options: func() []host.Option {
			return []host.Option{host.WithProtocols(example.DataProcessorProtocol), host.WithMaxMessageSize(maxMessage)}
		},
		Commands: []*hostcli.Command{processCommand(), statusCommand()},
	}
	program.Main()
}
