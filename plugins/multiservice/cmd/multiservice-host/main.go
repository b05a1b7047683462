// Command multiservice-host starts the plugin with two services on a database,
// and creates users, stores data and queries it. See -h.
package main

import (
	"errors"
	"flag"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// maxMessage is the largest size of a request, in bytes, from the .proto. A
// page of entries is smaller.
const maxMessage = 4 << 20

func main() {
	var dir string
	program := hostcli.Program{
		Name:          "multiservice-host",
		About:         "Starts the plugin on the database in -dir, uses it and stops it again.",
		PluginPackage: "github.com/plugwire/plugwire/plugins/multiservice/cmd/multiservice-plugin",
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&dir, "dir", dir, "`directory` of the database; it is created if it does not exist (required)")
		},
		Check: func() error {
			if dir == "" {
				return errors.New("-dir is missing: it names the directory of the database")
			}
			return nil
		},
		PluginArgs: func() []string { return []string{"-dir", dir} },
		Options: func() []host.Option {
			return []host.Option{host.WithProtocols(multi.MultiProtocol), host.WithMaxMessageSize(maxMessage)}
		},
		Commands: []*hostcli.Command{
			createUserCommand(), getUserCommand(), storeCommand(), importCommand(), queryCommand(), statusCommand(&dir),
		},
	}
	program.Main()
}
