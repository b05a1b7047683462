package otelplugwire_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/supervise"
	otelplugwire "github.com/plugwire/plugwire/otel"
	"github.com/plugwire/plugwire/transport/unix"
)

// asPlugin is the variable that makes this test's program a plugin.
const asPlugin = "OTELPLUGWIRE_TEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		plugin.Main(protocol.Bind(testProtocol, new(relay)), otelplugwire.Plugin(), plugin.WithTransports(unix.New()))
		return
	}
	goleak.VerifyTestMain(m)
}

var testProtocol = protocol.New("telemetry", 1, &testpb.TestService_ServiceDesc)

// relay logs, and passes a call on, up to a depth that the request names.
type relay struct {
	testpb.UnimplementedTestServiceServer
	next func(ctx context.Context) grpc.ClientConnInterface
}

func (r *relay) UnaryCall(ctx context.Context, request *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	plugin.Logger(ctx).InfoContext(ctx, "called", "left", request.GetResponseSize())
	if request.GetResponseSize() == 0 {
		return &testpb.SimpleResponse{}, nil
	}
	return testpb.NewTestServiceClient(r.next(ctx)).UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: request.GetResponseSize() - 1})
}

// side is OpenTelemetry in one process.
type side struct {
	spans  *tracetest.InMemoryExporter
	traces *trace.TracerProvider
	reader *metric.ManualReader
	meters *metric.MeterProvider
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	s.traces = trace.NewTracerProvider(trace.WithSyncer(s.spans))
	s.meters = metric.NewMeterProvider(metric.WithReader(s.reader))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := s.traces.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := s.meters.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *side) options() []otelplugwire.Option {
	return []otelplugwire.Option{
		otelplugwire.WithTracerProvider(s.traces), otelplugwire.WithMeterProvider(s.meters),
		otelplugwire.WithLoggerProvider(noop.NewLoggerProvider()),
	}
}

// named returns the spans with that name.
func (s *side) named(name string) (found tracetest.SpanStubs) {
	for _, span := range s.spans.GetSpans() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	return found
}

// metrics returns what the reader collects, one line for each series.
func (s *side) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	put := func(name string, set attribute.Set, value float64) {
		var attributes []string
		for _, kv := range set.ToSlice() {
			if kv.Key != "process.pid" {
				attributes = append(attributes, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
			}
		}
		found[fmt.Sprintf("%s{%s}", name, strings.Join(attributes, ","))] = value
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return found
}

// check checks series of metrics.
func check(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for series, value := range want {
		if g, ok := got[series]; !ok || g != value {
			t.Errorf("%s is %v (%t), want %v", series, g, ok, value)
		}
	}
	if t.Failed() {
		for series, value := range got {
			t.Log(series, value)
		}
	}
}

// A call of the host, the callback of its handler, and the call by the broker that follows
// from that are one trace with one root, on every wire. The framework's own calls have no
// spans.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	for _, wire := range wires(t) {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			hostSide, pluginSide := newSide(t), newSide(t)
			var brokered atomic.Pointer[broker.Conn] // set before the first call
			atHost := &relay{next: func(context.Context) grpc.ClientConnInterface { return *brokered.Load() }}
			atPlugin := &relay{next: plugin.Host}
			const id = 1
			served := make(chan error, 1)
			p := plugintest.StartWith(t, protocol.Bind(testProtocol, atPlugin), unix.New(),
				[]plugin.Option{
					otelplugwire.Plugin(pluginSide.options()...),
					plugin.OnReady(func(ctx context.Context) error {
						serving := context.WithoutCancel(ctx)
						go func() { served <- plugin.Broker(ctx).Serve(serving, id, protocol.Bind(testProtocol, new(relay))) }()
						return nil
					}),
				},
				host.WithWire(wire), host.WithServices(protocol.Bind(testProtocol, atHost)), otelplugwire.Host(hostSide.options()...))
			conn, err := p.Broker().Dial(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			brokered.Store(&conn)

			ctx, root := hostSide.traces.Tracer("test").Start(t.Context(), "root")
			if _, err := testpb.NewTestServiceClient(p).UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: 2}); err != nil {
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
			const method = "grpc.testing.TestService/UnaryCall"
			want := strings.TrimPrefix(`
host internal root
  host client grpc.testing.TestService/UnaryCall
    plugin server grpc.testing.TestService/UnaryCall
      plugin client grpc.testing.TestService/UnaryCall
        host server grpc.testing.TestService/UnaryCall
          host client grpc.testing.TestService/UnaryCall
            plugin server grpc.testing.TestService/UnaryCall
`, "\n")
			if got := tree(root.SpanContext(), hostSide, pluginSide); got != want {
				t.Errorf("the trace is\n%s\nwant\n%s", got, want)
			}
			if spans := hostSide.spans.GetSpans(); len(spans) != 5 { // of the start, and what want has
				t.Errorf("the host has %d spans", len(spans))
			}
			check(t, hostSide.metrics(t), map[string]float64{
				"plugwire.client.active_calls{rpc.method=" + method + ",rpc.system.name=grpc}": 0,
				"plugwire.server.active_calls{rpc.method=" + method + ",rpc.system.name=grpc}": 0,
			})
		})
	}
}

// wires returns the wires of this release, as the error for an unknown one lists them.
func wires(t *testing.T) []string {
	t.Helper()
	_, err := host.Launch(t.Context(), exec.Command("none"), host.WithWire("none"))
	_, list, ok := strings.Cut(fmt.Sprint(err), "this side has ")
	if !ok {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(list, "\n")
	return strings.Split(line, ", ")
}

// tree returns the spans of a trace as an indented list.
func tree(root oteltrace.SpanContext, hostSide, pluginSide *side) string {
	list := new(strings.Builder)
	type span struct {
		side string
		tracetest.SpanStub
	}
	children := make(map[oteltrace.SpanID][]span)
	for name, s := range map[string]*side{"host": hostSide, "plugin": pluginSide} {
		for _, stub := range s.spans.GetSpans() {
			if stub.SpanContext.TraceID() == root.TraceID() {
				children[stub.Parent.SpanID()] = append(children[stub.Parent.SpanID()], span{name, stub})
			}
		}
	}
	var walk func(parent oteltrace.SpanID, indent string)
	walk = func(parent oteltrace.SpanID, indent string) {
		for _, s := range children[parent] {
			fmt.Fprintf(list, "%s%s %s %s\n", indent, s.side, s.SpanKind, s.Name)
			walk(s.SpanContext.SpanID(), indent+"  ")
		}
	}
	walk(oteltrace.SpanID{}, "")
	return list.String()
}

// launch starts this test's program as a plugin.
func launch(t *testing.T, opts ...host.Option) (*host.Plugin, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asPlugin+"=1")
	return host.Launch(t.Context(), cmd, host.WithName("echo"), host.WithProtocols(testProtocol), host.WithTransports(unix.New()),
		host.WithLogger(slog.New(slog.DiscardHandler)), host.Options(opts...))
}

// A real plugin is measured from its start to its end.
func TestLife(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	p, err := launch(t, otelplugwire.Host(s.options()...))
	if err != nil {
		t.Fatal(err)
	}
	got := s.metrics(t)
	check(t, got, map[string]float64{
		"plugwire.plugin.starts{plugwire.plugin.name=echo}":                                              1,
		"plugwire.plugin.start.duration{plugwire.plugin.name=echo}":                                      1,
		"plugwire.plugin.start.phase.duration{plugwire.plugin.name=echo,plugwire.start.phase=prepare}":   1,
		"plugwire.plugin.start.phase.duration{plugwire.plugin.name=echo,plugwire.start.phase=start}":     1,
		"plugwire.plugin.start.phase.duration{plugwire.plugin.name=echo,plugwire.start.phase=handshake}": 1,
		"plugwire.plugin.start.phase.duration{plugwire.plugin.name=echo,plugwire.start.phase=connect}":   1,
		"plugwire.plugin.start.phase.duration{plugwire.plugin.name=echo,plugwire.start.phase=ready}":     1,
		"plugwire.plugin.running{plugwire.plugin.name=echo}":                                             1,
	})
	if _, err := testpb.NewTestServiceClient(p).UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Error(err)
	}
	got = s.metrics(t)
	check(t, got, map[string]float64{
		"rpc.client.call.duration{rpc.method=grpc.testing.TestService/UnaryCall,rpc.response.status_code=OK,rpc.system.name=grpc,server.address=echo}": 1,
	})
	if memory := got["process.memory.usage{plugwire.plugin.name=echo}"]; memory < 1<<20 {
		t.Errorf("the plugin has %v bytes", memory)
	}
	if user, ok := got["process.cpu.time{cpu.mode=user,plugwire.plugin.name=echo}"]; !ok || user < 0 {
		t.Errorf("the plugin has used %v seconds (%t)", user, ok)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	got = s.metrics(t)
	check(t, got, map[string]float64{
		"plugwire.plugin.running{plugwire.plugin.name=echo}":                   0,
		"plugwire.plugin.exits{plugwire.plugin.name=echo,process.exit.code=0}": 1,
	})
	if memory, ok := got["process.memory.usage{plugwire.plugin.name=echo}"]; ok {
		t.Errorf("a plugin that has ended has %v bytes", memory)
	}
	spans := s.named("plugin start echo")
	if len(spans) != 1 {
		t.Fatalf("%d spans of the start", len(spans))
	}
	var events []string
	for _, e := range spans[0].Events {
		events = append(events, e.Name)
	}
	if want := []string{"process start", "process started", "answer", "dial", "connected", "ready"}; !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
	if d := spans[0].EndTime.Sub(spans[0].StartTime); d < p.Info().StartDuration-time.Millisecond {
		t.Errorf("the span is of %v, and the start took %v", d, p.Info().StartDuration)
	}
}

// A start that fails is measured too.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	_, err := launch(t, otelplugwire.Host(s.options()...), host.WithCookie("OTHER", "cookie"))
	if err == nil {
		t.Fatal("the plugin has started with another cookie")
	}
	check(t, s.metrics(t), map[string]float64{
		"plugwire.plugin.starts{error.type=handshake,plugwire.plugin.name=echo}":         1,
		"plugwire.plugin.start.duration{error.type=handshake,plugwire.plugin.name=echo}": 1,
	})
	spans := s.named("plugin start echo")
	if len(spans) != 1 || spans[0].Status.Description == "" {
		t.Errorf("spans of the start: %+v", spans)
	}
}

// A restart, a swap and a failed swap are spans and metrics of the handle.
func TestSupervise(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	closed := make(chan struct{})
	h, err := supervise.Start(t.Context(), func(context.Context) (*host.Plugin, error) { return launch(t) },
		otelplugwire.Supervise(s.options()...),
		supervise.WithLogger(slog.New(slog.DiscardHandler)),
		supervise.WithListener(func(e supervise.Event) {
			if e.Kind == supervise.KindClosed {
				close(closed)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Plugin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	killed, err := os.FindProcess(p.Info().PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if _, err := testpb.NewTestServiceClient(h).UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
	if err := h.Restart(t.Context()); err != nil {
		t.Error(err)
	}
	broken := func(context.Context) (*host.Plugin, error) { return launch(t, host.WithCookie("OTHER", "cookie")) }
	if err := h.Swap(t.Context(), broken); err == nil {
		t.Error("a plugin that refuses the cookie was swapped in")
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	<-closed // the option of this module has had all events, because its listener is the first
	check(t, s.metrics(t), map[string]float64{
		"plugwire.plugin.restarts{plugwire.plugin.name=echo}":                      1,
		"plugwire.plugin.gap.duration{plugwire.plugin.name=echo}":                  1,
		"plugwire.plugin.swaps{plugwire.plugin.name=echo}":                         1,
		"plugwire.plugin.swaps{error.type=start failed,plugwire.plugin.name=echo}": 1,
	})
	if gaps, swaps := s.named("plugin gap echo"), s.named("plugin swap echo"); len(gaps) != 1 || len(swaps) != 2 {
		t.Errorf("%d spans of gaps and %d of swaps", len(gaps), len(swaps))
	}
}

// A plugin that is stopped because nobody calls it leaves no gap, and its next start is not a
// restart.
func TestSuperviseIdle(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	closed := make(chan struct{})
	g, err := supervise.NewGroup(otelplugwire.Supervise(s.options()...),
		supervise.WithLogger(slog.New(slog.DiscardHandler)),
		supervise.WithListener(func(e supervise.Event) {
			if e.Kind == supervise.KindClosed {
				close(closed)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(t.Context(), supervise.Spec{
		Name: "echo", Idle: time.Millisecond,
		Launch: func(context.Context) (*host.Plugin, error) { return launch(t) },
	}); err != nil {
		t.Fatal(err)
	}
	h, err := g.Member("echo")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p, err := h.Plugin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	<-closed
	for name, value := range s.metrics(t) {
		if strings.HasPrefix(name, "plugwire.plugin.restarts") || strings.HasPrefix(name, "plugwire.plugin.gap") {
			t.Errorf("%s is %v", name, value)
		}
	}
	if gaps := s.named("plugin gap echo"); len(gaps) > 0 {
		t.Errorf("%d spans of gaps", len(gaps))
	}
}
