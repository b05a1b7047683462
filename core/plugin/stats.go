package plugin

import "google.golang.org/grpc/stats"

// WithStatsHandler adds grpc's stats handlers, for example those of OpenTelemetry
// (otelgrpc.NewClientHandler and otelgrpc.NewServerHandler). client sees the calls that
// the plugin makes: to its host ([Host]), and on connections of [Broker]. server sees the
// calls that the plugin serves: those of its host, and those of Broker.Serve. Either may
// be nil. Neither sees the framework's own calls. Several handlers run in the order in
// which they were added.
//
// Without stats handlers calls cost nothing more.
func WithStatsHandler(client, server stats.Handler) Option {
	return optionFunc(func(cfg *config) error {
		if client != nil {
			cfg.clientStats = append(cfg.clientStats, client)
		}
		if server != nil {
			cfg.serverStats = append(cfg.serverStats, server)
		}
		return nil
	})
}
