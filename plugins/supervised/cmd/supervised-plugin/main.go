// Command supervised-plugin greets, and says which version greets; a host starts it.
package main

import (
	"context"
	"flag"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

type greeter struct{ version string }

func (g greeter) Greet(_ context.Context, request *hello.GreetRequest) (*hello.GreetResponse, error) {
	return &hello.GreetResponse{Greeting: "Hello, " + request.GetName() + ", from version " + g.version + "!"}, nil
}

func main() {
	version := flag.String("version", "1", "the `version` that the greetings name")
	flag.Parse()
	plugin.Main(hello.ServeGreeter(greeter{*version}), plugin.WithTransports(unix.New()))
}
