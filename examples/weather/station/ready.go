package station

import (
	"context"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/examples/weather"
)

// Report makes a plugin send its first reading to the station that its host serves, as
// soon as the two are connected.
func Report(first *weather.Reading) plugin.Option {
	return plugin.OnReady(func(ctx context.Context) error {
		_, err := weather.NewStationClient(plugin.Host(ctx)).AddReading(ctx, &weather.AddReadingRequest{Reading: first})
		return err
	})
}
