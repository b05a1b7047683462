// Command hello-plugin greets; a host starts it.
package main

import (
	"context"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

type greeter struct{}

func (greeter) Greet(_ context.Context, request *hello.GreetRequest) (*hello.GreetResponse, error) {
	return &hello.GreetResponse{Greeting: "Hello, " + request.GetName() + "!"}, nil
}

func main() {
	plugin.Main(hello.ServeGreeter(greeter{}), plugin.WithTransports(unix.New()))
}
