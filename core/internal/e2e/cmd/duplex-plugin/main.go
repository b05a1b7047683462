// Command duplex-plugin calls its host back, in the end-to-end tests.
package main

import (
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
)

func main() {
	plugin.Main(duplexpb.ServeDuplex(&duplex.Handler{
		Other:  plugin.Host,
		Open:   plugin.OpenStream,
		Accept: plugin.AcceptStream,
	}), plugin.WithTransports(ways.All()...))
}
