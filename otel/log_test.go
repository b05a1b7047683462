package otelplugwire_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/host"
	otelplugwire "github.com/plugwire/plugwire/otel"
)

// records keeps what a host's logger sends to OpenTelemetry.
type records struct {
	mu   sync.Mutex // guards list
	list []sdklog.Record
}

func (r *records) Export(_ context.Context, list []sdklog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range list {
		r.list = append(r.list, record.Clone())
	}
	return nil
}

func (*records) Shutdown(context.Context) error   { return nil }
func (*records) ForceFlush(context.Context) error { return nil }

// What a handler of a plugin logs belongs to the span of its call, in the host.
func TestLogs(t *testing.T) {
	t.Parallel()
	s, kept := newSide(t), new(records)
	provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewSimpleProcessor(kept)))
	p, err := launch(t, otelplugwire.Host(s.options()...),
		host.WithLogger(slog.New(otelplugwire.NewLogHandler(otelplugwire.WithLoggerProvider(provider)))))
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := s.traces.Tracer("test").Start(t.Context(), "root")
	if _, err := testpb.NewTestServiceClient(p).UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
		t.Error(err)
	}
	root.End()
	if err := p.Close(); err != nil { // logs the last lines
		t.Error(err)
	}
	kept.mu.Lock()
	defer kept.mu.Unlock()
	found := 0
	for _, r := range kept.list {
		if r.Body().AsString() != "called" {
			continue
		}
		found++
		if r.TraceID() != root.SpanContext().TraceID() || !r.SpanID().IsValid() {
			t.Errorf("the record is of trace %s, span %s; want trace %s", r.TraceID(), r.SpanID(), root.SpanContext().TraceID())
		}
		r.WalkAttributes(func(kv attribute.KeyValue) bool {
			if kv.Key == "trace_id" || kv.Key == "span_id" {
				t.Errorf("the record has the attribute %s too", kv.Key)
			}
			return true
		})
	}
	if found != 1 {
		t.Errorf("%d records of the handler, want 1", found)
	}
}
