package station

import (
	"context"

	"github.com/plugwire/plugwire/examples/weather"
	weatherv2 "github.com/plugwire/plugwire/examples/weather/v2"
)

// V2 is a station in version 2 of its protocol.
type V2 struct{ *Station }

var _ weatherv2.StationHandler = V2{}

// GetReading implements [weatherv2.StationHandler].
func (v V2) GetReading(ctx context.Context, request *weatherv2.GetReadingRequest) (*weatherv2.Reading, error) {
	reading, err := v.Station.GetReading(ctx, &weather.GetReadingRequest{Sensor: request.GetSensor()})
	if err != nil {
		return nil, err
	}
	return &weatherv2.Reading{Sensor: reading.GetSensor(), TimeMillis: reading.GetTimeMillis(), Kelvin: reading.GetCelsius() - absoluteZero}, nil
}
