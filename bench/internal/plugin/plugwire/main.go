// Command plugwire is the plugin of the Plugwire peers. The host chooses the transport,
// the security and the wire.
package main

import (
	"context"
	"log/slog"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	"github.com/plugwire/plugwire/bench/internal/messages"
	bench "github.com/plugwire/plugwire/bench/internal/peers/protocol"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/examples/socketpair"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	agent.Serve()
	server := &grpcecho.Server{Back: func(ctx context.Context, _ *messages.Payload) (echopb.EchoClient, error) {
		return echopb.NewEchoClient(plugin.Host(ctx)), nil
	}}
	plugin.Main(protocol.Bind(bench.Echo, server),
		plugin.WithTransports(unix.New(), tcp.New(), quic.New(), socketpair.New()),
		plugin.WithLogger(slog.New(slog.DiscardHandler)))
}
