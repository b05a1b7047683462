package otelplugwire_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	otelplugwire "github.com/plugwire/plugwire/otel"
	"github.com/plugwire/plugwire/transport/unix"
)

// receiver reads a named stream to its end in each call.
type receiver struct {
	testpb.UnimplementedTestServiceServer
}

func (receiver) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	conn, err := plugin.AcceptStream(ctx, "upload")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	body, err := io.ReadAll(conn)
	return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: body}}, err
}

// A named stream has a span on each side. The span links to the call in which that side
// opened or accepted the stream. The two calls are one trace.
func TestNamedStream(t *testing.T) {
	t.Parallel()
	for _, wire := range wires(t) {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			hostSide, pluginSide := newSide(t), newSide(t)
			p := plugintest.StartWith(t, protocol.Bind(testProtocol, receiver{}), unix.New(),
				[]plugin.Option{otelplugwire.Plugin(pluginSide.options()...)},
				host.WithWire(wire), otelplugwire.Host(hostSide.options()...))
			ctx, root := hostSide.traces.Tracer("test").Start(t.Context(), "root")
			type outcome struct {
				answer *testpb.SimpleResponse
				err    error
			}
			called := make(chan outcome, 1)
			go func() {
				answer, err := testpb.NewTestServiceClient(p).UnaryCall(ctx, &testpb.SimpleRequest{})
				called <- outcome{answer, err}
			}()
			conn, err := p.OpenStream(ctx, "upload")
			if err != nil {
				t.Fatal(err)
			}
			const sent = "some bytes"
			if _, err := io.Copy(conn, strings.NewReader(sent)); err != nil {
				t.Error(err)
			}
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
			if o := <-called; o.err != nil || string(o.answer.GetPayload().GetBody()) != sent {
				t.Errorf("the plugin has read %q, %v", o.answer.GetPayload().GetBody(), o.err)
			}
			root.End()
			if spans := hostSide.named("named stream open"); len(spans) > 0 {
				t.Error("the span has ended before the stream was closed")
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := p.Close(); err != nil { // a server ends its spans after the client has the answer
				t.Error(err)
			}
			want := strings.TrimPrefix(`
host internal root
  host client grpc.testing.TestService/UnaryCall
    plugin server grpc.testing.TestService/UnaryCall
host client named stream open, linked to host internal root
plugin server named stream accept, linked to plugin server grpc.testing.TestService/UnaryCall
`, "\n")
			if got := tree(root.SpanContext(), hostSide, pluginSide) + links(root.SpanContext(), hostSide, pluginSide); got != want {
				t.Errorf("the traces are\n%s\nwant\n%s", got, want)
			}
			opened, accepted := hostSide.named("named stream open"), pluginSide.named("named stream accept")
			if len(opened) != 1 || len(accepted) != 1 {
				t.Fatalf("%d spans of streams in the host, and %d in the plugin", len(opened), len(accepted))
			}
			name := attribute.String("plugwire.stream.name", "upload")
			if got, want := opened[0].Attributes, []attribute.KeyValue{name, attribute.String("plugwire.plugin.name", p.Name())}; !slices.Equal(got, want) {
				t.Errorf("attributes %v, want %v", got, want)
			}
			if got := accepted[0].Attributes; !slices.Equal(got, []attribute.KeyValue{name}) {
				t.Errorf("attributes %v, want %v", got, name)
			}
		})
	}
}

// links returns the spans in other traces with a link into a trace, one line for each.
func links(root oteltrace.SpanContext, hostSide, pluginSide *side) string {
	named := make(map[oteltrace.SpanID]string)
	var linked []string
	for _, s := range []struct {
		name string
		*side
	}{{"host", hostSide}, {"plugin", pluginSide}} {
		for _, span := range s.spans.GetSpans() {
			named[span.SpanContext.SpanID()] = fmt.Sprintf("%s %s %s", s.name, span.SpanKind, span.Name)
		}
	}
	for _, spans := range []tracetest.SpanStubs{hostSide.spans.GetSpans(), pluginSide.spans.GetSpans()} {
		for _, span := range spans {
			for _, link := range span.Links {
				if link.SpanContext.TraceID() == root.TraceID() && span.SpanContext.TraceID() != root.TraceID() && !span.Parent.IsValid() {
					linked = append(linked, fmt.Sprintf("%s, linked to %s\n", named[span.SpanContext.SpanID()], named[link.SpanContext.SpanID()]))
				}
			}
		}
	}
	return strings.Join(linked, "")
}

// A stream that nobody accepts has a span too.
func TestNamedStreamInVain(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	p := plugintest.Start(t, protocol.Bind(testProtocol, receiver{}), unix.New(), otelplugwire.Host(s.options()...))
	ended, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := p.AcceptStream(ended, "upload"); err == nil {
		t.Fatal("a stream that nobody has opened was accepted")
	}
	spans := s.named("named stream accept")
	if len(spans) != 1 || spans[0].Status.Code != codes.Error || len(spans[0].Links) != 0 {
		t.Fatalf("spans %+v", spans)
	}
	if !slices.Contains(spans[0].Attributes, attribute.String("error.type", "timeout")) {
		t.Errorf("attributes %v", spans[0].Attributes)
	}
}
