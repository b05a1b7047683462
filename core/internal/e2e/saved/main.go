// Command saved is a plugin whose source a test saves again and again, while a host builds
// it and swaps it in.
package main

import (
	"context"

	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/unix"
)

// version is what a save changes.
const version = "saved 0 times"

type handler struct{ echo.Handler }

// Fail returns the version.
func (handler) Fail(context.Context, *echopb.FailRequest) (*echopb.Payload, error) {
	return &echopb.Payload{Data: []byte(version)}, nil
}

func main() {
	plugin.Main(echopb.ServeEcho(handler{}), plugin.WithTransports(unix.New()))
}
