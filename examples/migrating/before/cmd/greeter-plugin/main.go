// Command greeter-plugin is a plugin on go-plugin.
package main

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/examples/migrating/before"
	"github.com/plugwire/plugwire/plugins/hello"
)

type greeter struct {
	hello.UnimplementedGreeterServer
}

func (greeter) Greet(_ context.Context, request *hello.GreetRequest) (*hello.GreetResponse, error) {
	return &hello.GreetResponse{Greeting: "Hello, " + request.GetName() + "!"}, nil
}

func main() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: before.Handshake,
		Plugins:         goplugin.PluginSet{"greeter": &before.GreeterPlugin{Impl: greeter{}}},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}
