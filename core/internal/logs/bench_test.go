package logs_test

import (
	"context"
	"log/slog"
	"testing"
)

var benchLines = []struct{ name, line string }{
	{"JSON", `{"level":"info","time":"2026-02-03T04:05:06.123456Z","message":"request served","method":"GET","path":"/index.html","status":200,"took":"1.5ms"}` + "\n"},
	{"Logfmt", `time=2026-02-03T04:05:06.123Z level=INFO msg="request served" method=GET path=/index.html status=200 took=1.5ms` + "\n"},
	{"Pino", `{"level":30,"time":1770091506123,"pid":12,"hostname":"vm","method":"GET","status":200,"msg":"request served"}` + "\n"},
	{"Klog", `I0203 04:05:06.123456   12345 server.go:12] "request served" method="GET" status=200` + "\n"},
	{"Stamped", "2026-02-03T04:05:06.123456Z  INFO server: request served method=GET status=200\n"},
	{"Coloured", "\x1b[2m2026-02-03T04:05:06.123456Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mserver\x1b[0m\x1b[2m:\x1b[0m request served\n"},
	{"Plain", "2026/02/03 04:05:06 request served: GET /index.html 200 in 1.5ms\n"},
}

// discard is a handler that costs nothing.
type discard struct{ level slog.Level }

func (d discard) Enabled(_ context.Context, l slog.Level) bool { return l >= d.level }
func (discard) Handle(context.Context, slog.Record) error      { return nil }
func (d discard) WithAttrs([]slog.Attr) slog.Handler           { return d }
func (d discard) WithGroup(string) slog.Handler                { return d }

func BenchmarkLine(b *testing.B) {
	for _, bench := range benchLines {
		for name, level := range map[string]slog.Level{"enabled": slog.LevelInfo, "not enabled": slog.LevelWarn} {
			b.Run(bench.name+"/"+name, func(b *testing.B) {
				c, line := newCollector(discard{level}), []byte(bench.line)
				b.ReportAllocs()
				b.SetBytes(int64(len(line)))
				for b.Loop() {
					c.Write(line)
				}
			})
		}
	}
}

// A line whose level is not enabled must not allocate, whatever a plugin
// writes.
func TestAllocsOfLineNotEnabled(t *testing.T) {
	for _, bench := range benchLines {
		if bench.name == "Logfmt" {
			continue // the parser reads its values before it finds the level
		}
		c, line := newCollector(discard{slog.LevelWarn}), []byte(bench.line)
		if got := testing.AllocsPerRun(100, func() { c.Write(line) }); got > 1 {
			t.Errorf("%s: %v allocations", bench.name, got)
		}
	}
}
