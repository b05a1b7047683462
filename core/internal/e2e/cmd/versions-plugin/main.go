// Command versions-plugin serves the echo service over the transports that its
// arguments name, in the end-to-end tests of what is negotiated.
package main

import (
	"os"

	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
)

func main() {
	plugin.Main(echopb.ServeEcho(echo.Handler{}), plugin.WithTransports(ways.Parse(os.Args[1:])...))
}
