// Command greeter-plugin is the same plugin on Plugwire.
package main

import (
	"context"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

type greeter struct{}

func (greeter) Greet(_ context.Context, request *hello.GreetRequest) (*hello.GreetResponse, error) {
	return &hello.GreetResponse{Greeting: "Hello, " + request.GetName() + "!"}, nil
}

func main() {
	plugin.Main(hello.ServeGreeter(greeter{}),
		plugin.WithCookie("GREETER_PLUGIN", "hello"),
		plugin.WithTransports(unix.New(), tcp.New()))
}
