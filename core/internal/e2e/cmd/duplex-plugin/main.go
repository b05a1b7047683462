// Command duplex-plugin calls its host back, in the end-to-end tests, over the
// transports that its arguments name, or all.
package main

import (
	"os"

	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
)

func main() {
	transports := ways.All()
	if len(os.Args) > 1 {
		transports = ways.Parse(os.Args[1:])
	}
	plugin.Main(duplexpb.ServeDuplex(&duplex.Handler{
		Other:  plugin.Host,
		Open:   plugin.OpenStream,
		Accept: plugin.AcceptStream,
	}), plugin.WithTransports(transports...))
}
