// Command versioned-host starts the plugin and processes files with it, in the
// highest version of the protocol that both have. See -h.
package main

import (
	"flag"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/hostcli"
)

const name = "versioned-host"

func main() { program(versions()).Main() }

// program returns the host that speaks these versions.
func program(known []version) *hostcli.Program {
	o := &offer{known: known, selected: known}
	return &hostcli.Program{
		Name:          name,
		About:         "Starts the plugin, processes files with it in the highest version of the protocol\nthat both have, and stops it again.",
		PluginPackage: "github.com/plugwire/plugwire/plugins/versioned/cmd/versioned-plugin",
		Flags: func(flags *flag.FlagSet) {
			flags.Func("versions", "`list` of versions of the protocol to offer (default "+listOf(known)+")", o.selectVersions)
		},
		Options: func() []host.Option {
			return []host.Option{host.WithProtocols(o.protocols()...), host.WithMaxMessageSize(maxMessage)}
		},
		Commands: []*hostcli.Command{processCommand(o), statusCommand(o)},
	}
}
