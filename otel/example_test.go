package otelplugwire_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/supervise"
	otelplugwire "github.com/plugwire/plugwire/otel"
	"github.com/plugwire/plugwire/transport/unix"
)

// A supervised plugin, with the global providers of OpenTelemetry.
func Example() {
	observed := otelplugwire.Host() // once, for all plugins of the host
	h, err := supervise.Start(context.Background(), func(ctx context.Context) (*host.Plugin, error) {
		return host.Launch(ctx, exec.Command("./plugin"), observed,
			host.WithProtocols(testProtocol), host.WithTransports(unix.New()))
	}, otelplugwire.Supervise())
	if err != nil {
		log.Fatal(err)
	}
	if err := h.Close(); err != nil {
		log.Fatal(err)
	}
}

// The main function of the plugin.
func ExamplePlugin() {
	plugin.Main(protocol.Bind(testProtocol, new(relay)), otelplugwire.Plugin(), plugin.WithTransports(unix.New()))
}

// The host's log, on standard error and at OpenTelemetry.
func ExampleNewLogHandler() {
	logger := slog.New(slog.NewMultiHandler(
		slog.NewJSONHandler(os.Stderr, nil), otelplugwire.NewLogHandler()))
	option := host.WithLogger(logger)
	fmt.Println(option != nil)
	// Output: true
}
