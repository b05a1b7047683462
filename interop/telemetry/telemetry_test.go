// Package telemetry_test lets OpenTelemetry's instrumentation of gRPC watch a host and
// its plugin.
package telemetry_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/transport/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testProtocol = protocol.New("telemetry", 1, &testpb.TestService_ServiceDesc)

// relay passes a call on: the plugin to its host, and the host to what the plugin serves
// by the broker, which is the end of the way.
type relay struct {
	testpb.UnimplementedTestServiceServer
	next func(ctx context.Context) (grpc.ClientConnInterface, error)
}

func (r *relay) EmptyCall(ctx context.Context, _ *testpb.Empty) (*testpb.Empty, error) {
	if r.next == nil {
		return &testpb.Empty{}, nil
	}
	conn, err := r.next(ctx)
	if err != nil {
		return nil, err
	}
	return testpb.NewTestServiceClient(conn).EmptyCall(ctx, &testpb.Empty{})
}

// side is OpenTelemetry on one side.
type side struct {
	spans    *tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{spans: tracetest.NewInMemoryExporter()}
	s.provider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans))
	t.Cleanup(func() {
		if err := s.provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *side) options() []otelgrpc.Option {
	return []otelgrpc.Option{otelgrpc.WithTracerProvider(s.provider), otelgrpc.WithPropagators(propagation.TraceContext{})}
}

// A call to the plugin, its call back, and a brokered call of the host are one trace with
// a single root: the span of the host's own code. The framework's own calls have no spans.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	hostSide, pluginSide := newSide(t), newSide(t)
	var brokered atomic.Pointer[broker.Conn] // set before the first call
	const id = 1
	atHost := &relay{next: func(context.Context) (grpc.ClientConnInterface, error) { return *brokered.Load(), nil }}
	atPlugin := &relay{next: func(ctx context.Context) (grpc.ClientConnInterface, error) { return plugin.Host(ctx), nil }}

	served := make(chan error, 1)
	p := plugintest.StartWith(t, protocol.Bind(testProtocol, atPlugin), unix.New(),
		[]plugin.Option{
			plugin.WithStatsHandler(otelgrpc.NewClientHandler(pluginSide.options()...), otelgrpc.NewServerHandler(pluginSide.options()...)),
			plugin.OnReady(func(ctx context.Context) error {
				serving := context.WithoutCancel(ctx)
				go func() { served <- plugin.Broker(ctx).Serve(serving, id, protocol.Bind(testProtocol, new(relay))) }()
				return nil
			}),
		},
		host.WithServices(protocol.Bind(testProtocol, atHost)),
		host.WithStatsHandler(otelgrpc.NewClientHandler(hostSide.options()...), otelgrpc.NewServerHandler(hostSide.options()...)))
	conn, err := p.Broker().Dial(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	brokered.Store(&conn)

	ctx, root := hostSide.provider.Tracer("host").Start(t.Context(), "root")
	if _, err := testpb.NewTestServiceClient(p).EmptyCall(ctx, &testpb.Empty{}); err != nil {
		t.Error(err)
	}
	root.End()
	if err := p.Ping(t.Context()); err != nil { // one of the framework's own calls
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil { // a server ends its spans after the client has the answer
		t.Error(err)
	}
	<-served

	var kinds []string
	for _, s := range []struct {
		name string
		side *side
	}{{"host", hostSide}, {"plugin", pluginSide}} {
		for _, span := range s.side.spans.GetSpans() {
			kinds = append(kinds, s.name+" "+span.SpanKind.String())
		}
	}
	slices.Sort(kinds)
	want := []string{
		"host client", "host client", "host internal", "host server", // the call, the brokered call, the root, the callback
		"plugin client", "plugin server", "plugin server",
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("spans %q, want %q", kinds, want)
	}
	checkTree(t, root.SpanContext(), slices.Concat(hostSide.spans.GetSpans(), pluginSide.spans.GetSpans()))
}

// checkTree checks that the spans are one chain below the root.
func checkTree(t *testing.T, root trace.SpanContext, spans []tracetest.SpanStub) {
	t.Helper()
	children := make(map[trace.SpanID][]tracetest.SpanStub)
	for _, span := range spans {
		if span.SpanContext.TraceID() != root.TraceID() {
			t.Errorf("span %s %s is of another trace", span.Name, span.SpanKind)
		}
		children[span.Parent.SpanID()] = append(children[span.Parent.SpanID()], span)
	}
	var kinds []trace.SpanKind
	for next := children[trace.SpanID{}]; len(next) > 0; next = children[next[0].SpanContext.SpanID()] {
		if len(next) != 1 {
			t.Errorf("%d spans have one parent", len(next))
		}
		kinds = append(kinds, next[0].SpanKind)
	}
	want := []trace.SpanKind{
		trace.SpanKindInternal,
		trace.SpanKindClient, trace.SpanKindServer, // host to plugin
		trace.SpanKindClient, trace.SpanKindServer, // plugin to host
		trace.SpanKindClient, trace.SpanKindServer, // host to plugin, by the broker
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("from the root down: %v, want %v", kinds, want)
	}
}
