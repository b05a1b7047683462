package otelplugwire

import (
	"context"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
)

// Host makes a host tell about its calls to a plugin, those that the plugin makes to it,
// and the plugin's life:
//
//   - a span for each start, with an event for each of its steps
//   - plugwire.plugin.starts, plugwire.plugin.start.duration (s, as a whole),
//     plugwire.plugin.start.phase.duration (s, by phase), plugwire.plugin.running,
//     plugwire.plugin.exits
//   - process.memory.usage (By) and process.cpu.time (s) of each plugin that runs on this
//     machine
//   - spans and durations of calls, and plugwire.client.active_calls and
//     plugwire.server.active_calls
//   - a span for each named stream, with a link to the span in whose context this side opened
//     or accepted the stream
//
// The option may be given to many plugins: make it once.
func Host(opts ...Option) host.Option {
	cfg := newConfig(opts)
	client, server := cfg.callHandlers(nameOf)
	return host.Options(
		host.WithInterceptors(nameUnary, nameStream),
		host.WithStatsHandler(client[0], server[0]),
		host.WithStatsHandler(client[1], server[1]),
		host.WithNamedStreams(cfg.hostStreams()),
		host.WithTrace(newLives(cfg).trace()))
}

// Plugin makes a plugin tell about the calls that it serves and makes, and about its named
// streams, as [Host] does. Records that are
// logged with the context of a call get the attributes trace_id and span_id.
func Plugin(opts ...Option) plugin.Option {
	cfg := newConfig(opts)
	client, server := cfg.callHandlers(func(context.Context) string { return "host" })
	return plugin.Options(
		plugin.WithStatsHandler(client[0], server[0]),
		plugin.WithStatsHandler(client[1], server[1]),
		plugin.WithNamedStreams(cfg.pluginStreams()),
		plugin.WithLogHandler(newTraceIDs))
}

// callHandlers returns the handlers for the calls that a side makes, and for those that it
// serves. peer names the other side of a call.
func (c *config) callHandlers(peer func(context.Context) string) (client, server [2]stats.Handler) {
	active := func(name, description string) stats.Handler {
		return &activeCalls{calls: must(c.meter().Int64UpDownCounter(name, metric.WithUnit("{call}"), metric.WithDescription(description)))}
	}
	client = [...]stats.Handler{
		peerNames{otelgrpc.NewClientHandler(c.grpcOptions()...), peer},
		active("plugwire.client.active_calls", "Calls of this process that are in flight."),
	}
	server = [...]stats.Handler{
		otelgrpc.NewServerHandler(c.grpcOptions()...),
		active("plugwire.server.active_calls", "Calls that this process is serving."),
	}
	return client, server
}

// activeCalls counts the calls in flight.
type activeCalls struct {
	calls metric.Int64UpDownCounter
}

// attributesKey is the key under which the context of a call has its attributes.
type attributesKey struct{ *activeCalls }

// TagRPC implements [stats.Handler].
func (a *activeCalls) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	attributes := attribute.NewSet(attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", methodName(info.FullMethodName)))
	return context.WithValue(ctx, attributesKey{a}, metric.WithAttributeSet(attributes))
}

// methodName returns the name of a method as OpenTelemetry has it: without the first slash.
func methodName(fullMethod string) string {
	if fullMethod != "" && fullMethod[0] == '/' {
		return fullMethod[1:]
	}
	return fullMethod
}

// HandleRPC implements [stats.Handler].
func (a *activeCalls) HandleRPC(ctx context.Context, s stats.RPCStats) {
	attributes, ok := ctx.Value(attributesKey{a}).(metric.MeasurementOption)
	if !ok {
		return
	}
	switch s.(type) {
	case *stats.Begin:
		a.calls.Add(ctx, 1, attributes)
	case *stats.End:
		a.calls.Add(ctx, -1, attributes)
	}
}

// TagConn implements [stats.Handler].
func (*activeCalls) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (*activeCalls) HandleConn(context.Context, stats.ConnStats) {}
