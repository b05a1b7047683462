//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/peer/traced"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	otelplugwire "github.com/plugwire/plugwire/otel"
)

// spansIn returns the spans that were written to a buffer.
func spansIn(tb testing.TB, written *lockedBuffer) map[string]traced.Span {
	tb.Helper()
	found := make(map[string]traced.Span)
	for line := range strings.Lines(written.String()) {
		var s traced.Span
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			tb.Errorf("%q: %v", line, err)
		}
		key := s.Kind + " " + s.Name
		if _, duplicate := found[key]; duplicate {
			tb.Errorf("several spans are %s", key)
		}
		found[key] = s
	}
	return found
}

// TestTracedStreams opens a named stream within a call, from either side, over each transport
// and wire. On each side the stream has a span, with a link to that side's part of the trace of
// the call.
func TestTracedStreams(t *testing.T) {
	t.Parallel()
	for _, way := range ways.Wired() {
		for _, pluginOpens := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, plugin opens %t", way, pluginOpens), func(t *testing.T) {
				t.Parallel()
				var hostSpans, pluginSpans lockedBuffer
				tracers := trace.NewTracerProvider(trace.WithSyncer(traced.Exporter{Writer: &hostSpans}))
				p := launch(t, command("traced-plugin"), append(ways.Options(way),
					host.WithProtocols(duplexpb.DuplexProtocol), host.WithStdout(&pluginSpans),
					otelplugwire.Host(otelplugwire.WithTracerProvider(tracers), otelplugwire.WithMeterProvider(noop.NewMeterProvider())))...)
				ctx, root := tracers.Tracer("test").Start(testContext(t), "root")
				joined := make(chan error, 1)
				go func() {
					_, err := duplexpb.NewDuplexClient(p).Join(ctx, &duplexpb.StreamOrder{Name: "s", Open: pluginOpens, Bytes: 100_000})
					joined <- err
				}()
				meet, here, there := p.OpenStream, "client named stream open", "server named stream accept"
				if pluginOpens {
					meet, here, there = p.AcceptStream, there, here
				}
				var conn net.Conn
				conn, err := meet(ctx, "s")
				if err != nil {
					t.Fatal(err)
				}
				if report, err := duplex.Exchange(conn, 100_000); err != nil || report.GetReceived() != 100_000 {
					t.Errorf("%v, %v", report, err)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
				if err := waitFor(t, "the call", joined); err != nil {
					t.Error(err)
				}
				root.End()
				if err := p.Close(); err != nil {
					t.Error(err)
				}

				const method = "plugwire.e2e.duplex.Duplex/Join"
				ours, theirs := spansIn(t, &hostSpans), spansIn(t, &pluginSpans)
				outer, call, served := ours["internal root"], ours["client "+method], theirs["server "+method]
				if call.Parent != outer.ID || served.Parent != call.ID || served.Trace != outer.Trace {
					t.Errorf("the call is not one trace: %+v, %+v, %+v", outer, call, served)
				}
				for _, side := range []struct{ stream, opener traced.Span }{{ours[here], outer}, {theirs[there], served}} {
					want := side.opener.Trace + "/" + side.opener.ID
					if s := side.stream; s.Stream != "s" || len(s.Links) != 1 || s.Links[0] != want || s.Trace == outer.Trace {
						t.Errorf("the span of the stream is %+v, want a link to %s", s, want)
					}
				}
			})
		}
	}
}
