// Command grpc is the plugin of the peer grpc-go.
package main

import (
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	"github.com/plugwire/plugwire/bench/internal/launch"
)

func main() {
	agent.Serve()
	launch.Exit(serve())
}

func serve() error {
	server := grpc.NewServer()
	echopb.RegisterEchoServer(server, &grpcecho.Server{})
	ln, err := launch.Listen()
	if err != nil {
		return err
	}
	return server.Serve(ln)
}
