//go:build unix

package weather_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/station"
	"github.com/plugwire/plugwire/transport/unix"
)

// pluginVariable makes the test binary a plugin.
const pluginVariable = "WEATHER_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginVariable) != "" {
		plugin.Main(weather.ServeStation(newFaulty()), plugin.WithTransports(unix.New()))
	}
	goleak.VerifyTestMain(m)
}

// start serves a handler in this process.
func start(t *testing.T, handler weather.StationHandler, opts ...host.Option) weather.StationClient {
	t.Helper()
	return weather.NewStationClient(plugintest.Start(t, weather.ServeStation(handler), unix.New(), opts...))
}

// startPlugin is start for a test that stops the plugin by itself.
func startPlugin(t *testing.T, handler weather.StationHandler) *host.Plugin {
	t.Helper()
	return plugintest.Start(t, weather.ServeStation(handler), unix.New())
}

// self returns the path of this test binary.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pluginEnviron returns the variables with which this test binary is a plugin.
func pluginEnviron() []string { return append(os.Environ(), pluginVariable+"=1") }

// launch starts this test binary once more, as a plugin.
func launch(t *testing.T) *host.Plugin {
	t.Helper()
	cmd := exec.Command(self(t))
	cmd.Env = pluginEnviron()
	p, err := host.Launch(t.Context(), cmd, host.WithProtocols(weather.StationProtocol), host.WithTransports(unix.New()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // tests may have ended it already
	return p
}

// faulty is a station with mistakes. The sensor's name selects one.
type faulty struct {
	*station.Station
	began, ended chan struct{} // context of a call that blocks
}

func newFaulty() *faulty {
	const waits = 16 // bounds one test
	return &faulty{station.New(), make(chan struct{}, waits), make(chan struct{}, waits)}
}

func (f *faulty) GetReading(ctx context.Context, request *weather.GetReadingRequest) (*weather.Reading, error) {
	fault := faults[request.GetSensor()]
	if fault == nil {
		return f.Station.GetReading(ctx, request)
	}
	return fault(f, ctx)
}
