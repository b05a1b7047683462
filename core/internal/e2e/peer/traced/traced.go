// Package traced is a plugin whose named streams and calls have spans, and the form in which
// it prints the spans.
package traced

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
	otelplugwire "github.com/plugwire/plugwire/otel"
)

// Span is a span that has ended.
type Span struct {
	Name, Kind        string
	Trace, ID, Parent string
	Stream            string   // plugwire.stream.name
	Links             []string // the traces and spans that it links to, as trace/span
}

// Exporter writes spans, one line of JSON for each. It is a [trace.SpanExporter].
type Exporter struct{ Writer io.Writer }

// ExportSpans implements [trace.SpanExporter].
func (e Exporter) ExportSpans(_ context.Context, spans []trace.ReadOnlySpan) error {
	var errs []error
	for _, s := range spans {
		span := Span{
			Name: s.Name(), Kind: s.SpanKind().String(),
			Trace: s.SpanContext().TraceID().String(), ID: s.SpanContext().SpanID().String(), Parent: s.Parent().SpanID().String(),
		}
		for _, a := range s.Attributes() {
			if a.Key == attribute.Key("plugwire.stream.name") {
				span.Stream = a.Value.AsString()
			}
		}
		for _, l := range s.Links() {
			span.Links = append(span.Links, l.SpanContext.TraceID().String()+"/"+l.SpanContext.SpanID().String())
		}
		errs = append(errs, json.NewEncoder(e.Writer).Encode(span))
	}
	return errors.Join(errs...)
}

// Shutdown implements [trace.SpanExporter].
func (Exporter) Shutdown(context.Context) error { return nil }

// Main is a plugin for calls in both directions and named streams, over all transports. It
// prints its spans on standard output.
func Main() {
	plugin.Main(
		duplexpb.ServeDuplex(&duplex.Handler{Other: plugin.Host, Open: plugin.OpenStream, Accept: plugin.AcceptStream}),
		plugin.WithTransports(ways.All()...),
		otelplugwire.Plugin(
			otelplugwire.WithTracerProvider(trace.NewTracerProvider(trace.WithSyncer(Exporter{os.Stdout}))),
			otelplugwire.WithMeterProvider(noop.NewMeterProvider())))
}
