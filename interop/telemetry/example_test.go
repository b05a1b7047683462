package telemetry_test

import (
	"context"
	"log"
	"os/exec"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

// Both sides get both handlers. The providers and propagators are the global ones.
func Example() {
	p, err := host.Launch(context.Background(), exec.Command("./plugin"),
		host.WithStatsHandler(otelgrpc.NewClientHandler(), otelgrpc.NewServerHandler()),
		host.WithProtocols(testProtocol), host.WithTransports(unix.New()))
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Close(); err != nil {
		log.Fatal(err)
	}
}

// The main function of the plugin.
func Example_plugin() {
	plugin.Main(protocol.Bind(testProtocol, new(relay)),
		plugin.WithStatsHandler(otelgrpc.NewClientHandler(), otelgrpc.NewServerHandler()),
		plugin.WithTransports(unix.New()))
}
