package station

import (
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/examples/weather"
	weatherv2 "github.com/plugwire/plugwire/examples/weather/v2"
)

// Serve binds a station to both versions of its protocol.
func Serve(s *Station) protocol.Binding {
	return protocol.Join(weather.ServeStation(s), weatherv2.ServeStation(V2{s}))
}
