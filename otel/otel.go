// Package otelplugwire shows OpenTelemetry what hosts and plugins do: traces, metrics and
// logs. One option for each side does it.
//
//	import otelplugwire "github.com/plugwire/plugwire/otel"
//
//	p, err := host.Launch(ctx, cmd, otelplugwire.Host(), ...)      // in the host
//	h, err := supervise.Start(ctx, launch, otelplugwire.Supervise(), ...)
//	plugin.Main(binding, otelplugwire.Plugin(), ...)               // in the plugin
//
// Calls have the spans and durations of OpenTelemetry's instrumentation of gRPC
// (otelgrpc), on every wire. A call of the host, what its handler calls back, and what
// follows from that are one trace. Everything else has names that begin with "plugwire.",
// except what OpenTelemetry has names for, such as "process.memory.usage".
//
// Without providers among the options, the global ones of OpenTelemetry are used.
package otelplugwire

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of this instrumentation.
const scope = "github.com/plugwire/plugwire/otel"

// Attributes of spans and metrics that OpenTelemetry has no names for.
const (
	pluginName  = attribute.Key("plugwire.plugin.name")
	startPhase  = attribute.Key("plugwire.start.phase")
	protocolKey = attribute.Key("plugwire.protocol.name")
	versionKey  = attribute.Key("plugwire.protocol.version")
	transportID = attribute.Key("plugwire.transport")
	sessionKind = attribute.Key("plugwire.session")
	wireName    = attribute.Key("plugwire.wire")
	securityKey = attribute.Key("plugwire.security")
	streamName  = attribute.Key("plugwire.stream.name")
	attemptKey  = attribute.Key("plugwire.attempt")
	errorType   = attribute.Key("error.type")
)

// Option changes what is used of OpenTelemetry.
type Option interface {
	apply(cfg *config)
}

type optionFunc func(*config)

func (f optionFunc) apply(cfg *config) { f(cfg) }

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	loggers    otellog.LoggerProvider
	propagator propagation.TextMapPropagator
}

// newConfig returns the configuration that the options make.
func newConfig(opts []Option) *config {
	cfg := &config{
		tracers:    otel.GetTracerProvider(),
		meters:     otel.GetMeterProvider(),
		loggers:    otel.GetLoggerProvider(),
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
	for _, o := range opts {
		o.apply(cfg)
	}
	return cfg
}

// WithTracerProvider sets where spans go. The default is the global provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(cfg *config) { cfg.tracers = p })
}

// WithMeterProvider sets where metrics go. The default is the global provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(cfg *config) { cfg.meters = p })
}

// WithLoggerProvider sets where [NewLogHandler] sends records. The default is the global
// provider.
func WithLoggerProvider(p otellog.LoggerProvider) Option {
	return optionFunc(func(cfg *config) { cfg.loggers = p })
}

// WithPropagator sets how the context of a trace travels in the metadata of a call. The
// default is W3C's trace context and baggage, because the global propagator carries
// nothing until a program sets it. Host and plugin need the same one. A host that does not
// trust its plugins with its baggage sets propagation.TraceContext{}.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return optionFunc(func(cfg *config) { cfg.propagator = p })
}

func (c *config) tracer() trace.Tracer { return c.tracers.Tracer(scope) }

func (c *config) meter() metric.Meter { return c.meters.Meter(scope) }

// grpcOptions returns the options for OpenTelemetry's instrumentation of gRPC.
func (c *config) grpcOptions() []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(c.tracers),
		otelgrpc.WithMeterProvider(c.meters),
		otelgrpc.WithPropagators(c.propagator),
	}
}

// must returns an instrument. An error is OpenTelemetry's to tell, and the instrument
// then measures nothing.
func must[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}
