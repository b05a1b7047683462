package console

import (
	"context"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/examples/weather"
	weatherv2 "github.com/plugwire/plugwire/examples/weather/v2"
)

// Protocols are the versions that this host speaks, for host.WithProtocols.
var Protocols = []*protocol.Protocol{weather.StationProtocol, weatherv2.StationProtocol}

// zeroCelsius in kelvin.
const zeroCelsius = 273.15

// Celsius returns the latest temperature of a sensor, from a station of either
// version.
func Celsius(ctx context.Context, p *host.Plugin, sensor string) (float64, error) {
	if p.Protocol() == weather.StationProtocol {
		reading, err := weather.NewStationClient(p).GetReading(ctx, &weather.GetReadingRequest{Sensor: sensor})
		return reading.GetCelsius(), err
	}
	reading, err := weatherv2.NewStationClient(p).GetReading(ctx, &weatherv2.GetReadingRequest{Sensor: sensor})
	return reading.GetKelvin() - zeroCelsius, err
}
