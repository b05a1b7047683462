//go:build unix

package weather_test

import (
	"context"
	"errors"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/examples/weather"
	"github.com/plugwire/plugwire/examples/weather/console"
	"github.com/plugwire/plugwire/examples/weather/station"
	weatherv2 "github.com/plugwire/plugwire/examples/weather/v2"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestVersions runs hosts with plugins, each with some versions.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := station.New()
	if _, err := s.AddReading(t.Context(), &weather.AddReadingRequest{Reading: reading("a", 21)}); err != nil {
		t.Fatal(err)
	}
	one, two := []*protocol.Protocol{weather.StationProtocol}, []*protocol.Protocol{weatherv2.StationProtocol}
	for name, tt := range map[string]struct {
		hosts  []*protocol.Protocol
		plugin protocol.Binding
		want   int
	}{
		"both, both": {console.Protocols, station.Serve(s), 2},
		"1, both":    {one, station.Serve(s), 1},
		"2, both":    {two, station.Serve(s), 2},
		"both, 1":    {console.Protocols, weather.ServeStation(s), 1},
		"both, 2":    {console.Protocols, weatherv2.ServeStation(station.V2{Station: s}), 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plugintest.Start(t, tt.plugin, unix.New(), host.WithProtocols(tt.hosts...))
			if got := p.Protocol().Version(); got != tt.want {
				t.Errorf("version %d, want %d", got, tt.want)
			}
			if celsius, err := console.Celsius(t.Context(), p, "a"); math.Abs(celsius-21) > 1e-9 || err != nil {
				t.Errorf("%v, %v", celsius, err)
			}
		})
	}
}

// TestNoVersion runs a host and a plugin, each a process, without a common
// version.
func TestNoVersion(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(self(t))
	cmd.Env = pluginEnviron()
	_, err := host.Launch(t.Context(), cmd, host.WithProtocols(weatherv2.StationProtocol), host.WithTransports(unix.New()))
	mismatch, ok := errors.AsType[*handshake.Error](err)
	if !ok || mismatch.Code != handshake.CodeVersion || !strings.Contains(err.Error(), "host and plugin have no version of protocol weather in common (host: version 2; plugin: version 1)") {
		t.Errorf("%v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the host has waited for it")
	}
}
