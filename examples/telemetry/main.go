// Command telemetry is a host that keeps the plugin of plugins/hello up, calls it once a
// second, and shows Prometheus what happens:
//
//	telemetry ADDRESS PLUGIN
//
// Try it with "telemetry localhost:9464 ./hello-plugin", kill the plugin now and then, and
// look at http://localhost:9464/metrics.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/supervise"
	otelplugwire "github.com/plugwire/plugwire/otel"
	"github.com/plugwire/plugwire/plugins/hello"
	"github.com/plugwire/plugwire/transport/unix"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: telemetry ADDRESS PLUGIN")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := listenAndRun(ctx, os.Args[1], os.Args[2])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "telemetry:", err)
		os.Exit(1)
	}
}

func listenAndRun(ctx context.Context, address, program string) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return run(ctx, ln, program, time.Second)
}

// run calls the plugin every interval and serves the metrics on ln, until ctx ends.
func run(ctx context.Context, ln net.Listener, program string, interval time.Duration) error {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	meters := metric.NewMeterProvider(metric.WithReader(exporter))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()

	err = callEvery(ctx, interval, program, otelplugwire.WithMeterProvider(meters))
	ended := context.WithoutCancel(ctx)
	err = errors.Join(err, server.Close(), meters.Shutdown(ended))
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// callEvery keeps the plugin up and calls it every interval, until ctx ends.
func callEvery(ctx context.Context, interval time.Duration, program string, provider otelplugwire.Option) error {
	observed := otelplugwire.Host(provider) // once, for all starts
	h, err := supervise.Start(ctx, func(ctx context.Context) (*host.Plugin, error) {
		return host.Launch(ctx, exec.Command(program), observed, //nolint:gosec // the user names it
			host.WithProtocols(hello.GreeterProtocol), host.WithTransports(unix.New()))
	}, otelplugwire.Supervise(provider))
	if err != nil {
		return err
	}
	greeter, ticker := hello.NewGreeterClient(h), time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return h.Close()
		case <-ticker.C:
		}
		callCtx, cancel := context.WithTimeout(ctx, interval)
		_, err := greeter.Greet(callCtx, &hello.GreetRequest{Name: "Prometheus"}, grpc.WaitForReady(true))
		cancel()
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "telemetry: a call failed:", err)
		}
	}
}
