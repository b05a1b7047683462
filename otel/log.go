package otelplugwire

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/trace"
)

// The attributes by which a record names the span that it belongs to. OpenTelemetry has
// these names for logs in other forms than its own.
const (
	traceIDKey = "trace_id"
	spanIDKey  = "span_id"
)

// traceIDs is a handler that adds the identity of the span in the context.
type traceIDs struct{ slog.Handler }

func newTraceIDs(next slog.Handler) slog.Handler { return traceIDs{next} }

// Handle implements [slog.Handler].
func (h traceIDs) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String(traceIDKey, span.TraceID().String()), slog.String(spanIDKey, span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h traceIDs) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceIDs{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h traceIDs) WithGroup(name string) slog.Handler { return traceIDs{h.Handler.WithGroup(name)} }

// NewLogHandler returns a handler that sends records to OpenTelemetry. Give it to
// host.WithLogger, alone or in a [slog.NewMultiHandler] with the handler of the host. A
// record of a plugin that has the option [Plugin] then belongs to the span in which it was
// logged.
func NewLogHandler(opts ...Option) slog.Handler {
	cfg := newConfig(opts)
	return spanOfRecord{otelslog.NewHandler(scope, otelslog.WithLoggerProvider(cfg.loggers))}
}

// spanOfRecord is a handler that puts the span that a record names into the context.
type spanOfRecord struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h spanOfRecord) Handle(ctx context.Context, r slog.Record) error {
	var ids trace.SpanContextConfig
	named := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		var err error
		switch a.Key {
		case traceIDKey:
			ids.TraceID, err = trace.TraceIDFromHex(a.Value.String())
		case spanIDKey:
			ids.SpanID, err = trace.SpanIDFromHex(a.Value.String())
		default:
			named.AddAttrs(a)
			return true
		}
		if err != nil { // the plugin's own attribute of that name
			named.AddAttrs(a)
		}
		return true
	})
	if span := trace.NewSpanContext(ids); span.IsValid() {
		ctx, r = trace.ContextWithRemoteSpanContext(ctx, span), named
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h spanOfRecord) WithAttrs(attrs []slog.Attr) slog.Handler {
	return spanOfRecord{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h spanOfRecord) WithGroup(name string) slog.Handler {
	return spanOfRecord{h.Handler.WithGroup(name)}
}
