// Command echo-plugin serves the echo service of the end-to-end tests.
package main

import (
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	plugin.Main(echopb.ServeEcho(echo.Handler{}), plugin.WithTransports(unix.New()))
}
