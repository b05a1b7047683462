//go:build unix

package weather_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/console"
	"github.com/plugwire/plugwire/examples/weather/station"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestRetry makes a call while the plugin has no room for it, and then makes room.
func TestRetry(t *testing.T) {
	t.Parallel()
	f := newFaulty()
	refused := make(chan struct{}, 1)
	watch := host.WithInterceptors(func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := next(ctx, method, request, response, conn, opts...)
		if host.NotBegun(err) {
			select {
			case refused <- struct{}{}:
			default: // the test has seen one
			}
		}
		return err
	}, nil)
	p := plugintest.StartWith(t, weather.ServeStation(f), unix.New(), []plugin.Option{plugin.WithMaxCalls(1)}, console.Retry(time.Millisecond), watch)
	client := weather.NewStationClient(p)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := client.GetReading(ctx, &weather.GetReadingRequest{Sensor: "wait"})
		first <- err
	}()
	<-f.began
	go func() {
		_, err := client.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "nothing"})
		second <- err
	}()
	<-refused
	cancel()
	if err := <-first; status.Code(err) != codes.Canceled {
		t.Errorf("first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}
}

// TestReport looks for the reading that a plugin sends before Start returns.
func TestReport(t *testing.T) {
	t.Parallel()
	hosts := station.New()
	first := reading("a", 1)
	plugintest.StartWith(t, weather.ServeStation(station.New()), unix.New(), []plugin.Option{station.Report(first)},
		host.WithServices(weather.ServeStation(hosts)))
	if got, err := hosts.GetReading(t.Context(), &weather.GetReadingRequest{Sensor: "a"}); err != nil || got.GetCelsius() != first.GetCelsius() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPrintServices(t *testing.T) {
	t.Parallel()
	var printed bytes.Buffer
	const want = "weather.Station examples/weather/weather.proto 5\n"
	if err := console.PrintServices(t.Context(), &printed, startPlugin(t, station.New())); err != nil || printed.String() != want {
		t.Errorf("%q, %v", &printed, err)
	}
}
