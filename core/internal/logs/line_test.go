package logs_test

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// Records come back unchanged from the lines of real loggers.
func TestLineOfRealLogger(t *testing.T) {
	var out bytes.Buffer
	for name, logger := range map[string]*slog.Logger{
		"slog JSON": slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{AddSource: true})),
		"slog text": slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{AddSource: true})),
		"zerolog":   slog.New(zerolog.NewSlogHandler(zerolog.New(&out))),
	} {
		out.Reset()
		logger.Warn("low \"disk\"", "path", "/a b", "err", io.ErrUnexpectedEOF)
		_, rec := collect(t, &out)
		records := rec.all()
		if len(records) != 1 || records[0].Level != slog.LevelWarn || records[0].Message != `low "disk"` {
			t.Fatalf("records of %s: %q", name, rec.shown())
		}
		got := fields(records[0])
		if diff := cmp.Diff([]string{"path=/a b", "err=unexpected EOF"}, got[len(got)-2:]); diff != "" {
			t.Errorf("fields of %s (-want +got):\n%s", name, diff)
		}
		if wantSource := name != "zerolog"; wantSource != strings.Contains(got[0], "line_test.go") {
			t.Errorf("fields of %s: %q, want a source: %v", name, got, wantSource)
		}
		if age := time.Since(records[0].Time); age < 0 || age > time.Minute {
			t.Errorf("time of %s is %v off", name, age)
		}
	}
}

func TestLine(t *testing.T) {
	for _, test := range []struct{ name, line, want string }{
		{
			"zerolog", `{"level":"warn","n":1,"f":0.5,"ok":true,"time":"2026-02-03T04:05:06Z","message":"low disk"}`,
			"WARN low disk | n=Int64(1) | f=Float64(0.5) | ok=Bool(true)",
		},
		{"zerolog trace", `{"level":"trace","message":"t"}`, "DEBUG-4 t"},
		{"zerolog fatal", `{"level":"fatal","message":"t"}`, "ERROR+4 t"},
		{"zerolog without message", `{"level":"info","n":1}`, "INFO  | n=Int64(1)"},
		{"zerolog without level", `{"n":1,"message":"m"}`, "INFO m | n=Int64(1)"},
		{
			"slog", `{"time":"2026-02-03T04:05:06.5+01:00","level":"INFO+2","msg":"hi","g":{"a":1,"h":{"b":"x"}}}`,
			"INFO+2 hi | g={a=Int64(1) h={b=x}}",
		},
		{"slog below a name", `{"level":"DEBUG-1","msg":"hi"}`, "DEBUG-1 hi"},
		{
			"zap", `{"level":"error","ts":1770091506.123456,"logger":"a.b","caller":"x/y.go:3","msg":"no","stacktrace":"main.main\n\t/x.go:1"}`,
			"ERROR no | logger=a.b | caller=x/y.go:3 | stacktrace=main.main\n\t/x.go:1",
		},
		{
			"hclog", `{"@caller":"y.go:3","@level":"debug","@message":"hi","@module":"plugin","@timestamp":"2026-02-03T04:05:06.123456+01:00","level":"mine"}`,
			"DEBUG hi | @caller=y.go:3 | @module=plugin | fields.level=mine",
		},
		{
			"slog text", `time=2026-02-03T04:05:06.000Z level=WARN msg="a \"b\"" n=1 g.x="" "odd key"=v=w`,
			`WARN a "b" | n=1 | g.x= | odd key=v=w`,
		},
		{"logrus", `time="2026-02-03T04:05:06Z" level=warning msg="a b" n=1`, "WARN a b | n=1"},

		{"bracketed", "[WARN] plugin: low", "WARN plugin: low"},
		{"bracketed trace", "[TRACE] x", "DEBUG-4 x"},
		{"bracketed and nothing", "[ERROR]", "ERROR "},
		{"bracketed by log", "2026/02/03 04:05:06 [ERROR] no", "ERROR no"},
		{"bracketed by log with microseconds", "2026/02/03 04:05:06.123456 [DEBUG] no", "DEBUG no"},
		{"bracketed by hclog", "2026-02-03T04:05:06.123+0100 [INFO]  plugin: hi: a=1", "INFO plugin: hi: a=1"},

		{"plain", "listening on :80", "INFO listening on :80 | stream=stderr"},
		{"plain by log", "2026/02/03 04:05:06 hi", "INFO 2026/02/03 04:05:06 hi | stream=stderr"},
		{"plain with a bracket", "array [INFO] x", "INFO array [INFO] x | stream=stderr"},
		{"plain with an unknown bracket", "[http] x", "INFO [http] x | stream=stderr"},
		{"plain with spaces", "  x ", "INFO   x  | stream=stderr"},
		{"text without message", "time=2026-02-03T04:05:06.000Z level=WARN", "INFO time=2026-02-03T04:05:06.000Z level=WARN | stream=stderr"},
		{"text that goes wrong", `level=WARN msg="open`, `INFO level=WARN msg="open | stream=stderr`},
		{"text with junk", `level=WARN msg="a"b`, `INFO level=WARN msg="a"b | stream=stderr`},
		{"text with a bare word", `level=WARN msg=a b`, `INFO level=WARN msg=a b | stream=stderr`},
		{"JSON that is no log line", `{"a":1}`, `INFO {"a":1} | stream=stderr`},
		{"JSON array", `[1,2]`, `INFO [1,2] | stream=stderr`},
		{"JSON cut off", `{"level":"warn","message":"x`, `INFO {"level":"warn","message":"x | stream=stderr`},

		{
			"numbers", `{"msg":"n","a":9007199254740993,"b":18446744073709551615,"c":18446744073709551616,"d":1.50,"e":0.1,"f":-0,"g":1e400,"h":0.30000000000000004}`,
			"INFO n | a=Int64(9007199254740993) | b=Uint64(18446744073709551615) | c=json.Number(18446744073709551616)" +
				" | d=json.Number(1.50) | e=Float64(0.1) | f=Float64(-0) | g=json.Number(1e400) | h=Float64(0.30000000000000004)",
		},
		{
			"other values", `{ "msg" : "v" , "a" : [ 1 , {"b": "]" } ] , "n" : null , "o" : { } , "g" : { "" : 1 , "e" : {} } }`,
			`INFO v | a=logs.rawJSON([1,{"b":"]"}]) | n=<nil>(<nil>) | o=logs.rawJSON({}) | g={=logs.rawJSON(1) e=logs.rawJSON({})}`,
		},
		{"escapes", `{"msg":"\"\\\/\n\t\u00e9\ud83d\ude00\ud83d!\ud83d\u0041","\u006dsg":"k"}`, "INFO \"\\/\n\té😀\ufffd!\ufffdA | fields.msg=k"},
		{"escapes of control characters", `{"msg":"\b\f\r\u0000"}`, `INFO "\b\f\r\x00"`},
		{"duplicates", `{"msg":"a","msg":"b","x":1,"x":2}`, "INFO a | fields.msg=b | x=Int64(1) | x=Int64(2)"},
		{"slog and a field of zerolog's name", `{"level":"INFO","msg":"a","message":"b","ts":5}`, "INFO a | fields.message=b | ts=Int64(5)"},

		{"message is no string", `{"@message":1}`, `INFO {"@message":1} | stream=stderr`},
		{"level is no string", `{"@level":4,"@message":"x"}`, "INFO x | fields.@level=Int64(4)"},
		{"level is unknown", `{"level":"loud","message":"x"}`, "INFO x | fields.level=loud"},
		{"level is out of range", `{"level":"INFO+9223372036854775807","message":"x"}`, "INFO x | fields.level=INFO+9223372036854775807"},
		{"time is no time", `{"time":"noon","message":"x","ts":{}}`, "INFO x | fields.time=noon | ts=logs.rawJSON({})"},
		{"time is an elapsed time", `{"time":12.5,"message":"x"}`, "INFO x | fields.time=Float64(12.5)"},
		{"time has an unknown form", `{"time":"3 Feb 2026","message":"x"}`, "INFO x | fields.time=3 Feb 2026"},
		{"time is zero", `{"time":"0001-01-01T00:00:00Z","message":"x"}`, "INFO x | fields.time=0001-01-01T00:00:00Z"},
		{"time is beyond all", `{"time":1e300,"message":"x"}`, "INFO x | fields.time=json.Number(1e300)"},
		{
			"deep", `{"message":"x","a":` + strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20) + "}",
			"INFO x | " + strings.Repeat("a={", 15) + `a=logs.rawJSON({"a":{"a":{"a":{"a":{"a":1}}}}})` + strings.Repeat("}", 15),
		},
		{"deeper", strings.Repeat(`{"a":`, 20000), "INFO " + strings.Repeat(`{"a":`, 20000) + " | stream=stderr"},

		{"NUL", "a\x00b", `INFO "a\x00b" | stream=stderr`},
		{"escape codes", "\x1b[31mred\x1b[0m é", `INFO "\x1b[31mred\x1b[0m é" | stream=stderr`},
		{"C1 control", "a\u009b31m", `INFO "a\u009b31m" | stream=stderr`},
		{"invalid UTF-8", "a\xffb", `INFO "a\xffb" | stream=stderr`},
		{"replacement character", "a\ufffdb", "INFO a\ufffdb | stream=stderr"},
		{"progress by carriage return", "10%\r20%", `INFO "10%\r20%" | stream=stderr`},
		{
			"escape codes in JSON", `{"msg":"\u001b[31mred","k\u0007":"v\u0007","raw":["` + "\x7f" + `"]}`,
			`INFO "\x1b[31mred" | "k\a"="v\a" | raw="[\"\x7f\"]"`,
		},
		{"invalid UTF-8 in JSON", `{"msg":"a` + "\xff" + `\t"}`, `INFO "a\xff\t"`},
		{"escape codes in text", `level=INFO msg="\x1b[31mred"`, `INFO "\x1b[31mred"`},
		{"escape codes after a level", "[INFO] \x1b[31mred", `INFO "\x1b[31mred"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, rec := collect(t, strings.NewReader(test.line+"\n"))
			if diff := cmp.Diff([]string{test.want}, rec.shown()); diff != "" {
				t.Errorf("record of %s (-want +got):\n%s", test.line, diff)
			}
		})
	}
}

func TestLineTime(t *testing.T) {
	for _, test := range []struct {
		line string
		want time.Time
	}{
		{`{"level":"info","time":"2026-02-03T04:05:06Z","message":"zerolog"}`, date(0)},
		{`{"time":"2026-02-03T05:05:06.123456789+01:00","level":"INFO","msg":"slog"}`, date(123456789)},
		{`{"level":"info","ts":1770091506.123456,"msg":"zap"}`, date(123456000)},
		{`{"level":"info","ts":1.770091506123456e9,"msg":"zap with an exponent"}`, date(123456000)},
		{`{"level":"info","ts":"2026-02-03T05:05:06.123+0100","msg":"zap in text"}`, date(123000000)},
		{`{"level":"info","ts":1770091506123.5,"msg":"zap in milliseconds"}`, date(123500000)},
		{`{"level":"info","ts":1770091506123456789,"msg":"zap in nanoseconds"}`, date(123456789)},
		{`{"level":"info","time":1770091506,"message":"zerolog in seconds"}`, date(0)},
		{`{"level":"info","time":1770091506123,"message":"zerolog in milliseconds"}`, date(123000000)},
		{`{"level":"info","time":1770091506123456,"message":"zerolog in microseconds"}`, date(123456000)},
		{`{"@level":"info","@message":"hclog","@timestamp":"2026-02-03T04:05:06.123456Z"}`, date(123456000)},
		{`time=2026-02-03T04:05:06.123Z level=INFO msg=text`, date(123000000)},
		{`2026-02-03T05:05:06.123+0100 [INFO]  hclog`, date(123000000)},
		{date(0).Local().Format("2006/01/02 15:04:05") + ` [INFO] log`, date(0)},
	} {
		_, rec := collect(t, strings.NewReader(test.line))
		if got := rec.all()[0].Time; !got.Equal(test.want) {
			t.Errorf("time of %s is %v, want %v", test.line, got, test.want)
		}
	}

	before := time.Now()
	_, rec := collect(t, strings.NewReader("plain\n"))
	if got := rec.all()[0].Time; got.Before(before) || got.After(time.Now()) {
		t.Errorf("time of a plain line is %v, want now", got)
	}
}

// A line whose level is not enabled makes no record, whatever its form.
func TestLineLevelNotEnabled(t *testing.T) {
	rec := &recorder{level: slog.LevelWarn}
	input := strings.Join([]string{
		`{"level":"info","message":"json"}`, `{"level":"warn","message":"json"}`,
		`level=INFO msg=text`, `level=WARN msg=text`,
		"[INFO] bracketed", "[WARN] bracketed", "plain",
	}, "\n")
	c := newCollector(rec)
	if err := c.Run(strings.NewReader(input)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"WARN json", "WARN text", "WARN bracketed"}, rec.shown()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := c.Tail(); got != input {
		t.Errorf("Tail() = %q, want all of it", got)
	}
}

// The time for a hostile line must only be proportional to its length.
func TestLineManyFields(t *testing.T) {
	const n = 50_000
	line := `{"message":"x"` + strings.Repeat(`,"a":{"b":{"c":1}}`, n) + "}"
	_, rec := collect(t, strings.NewReader(line+"\n"+`{"message":"y","a":1}`))
	got := rec.all()
	if len(got) != 2 || got[0].NumAttrs() != n || show(got[1]) != "INFO y | a=Int64(1)" {
		t.Errorf("got %d records, want one with %d attributes and one after it", len(got), n)
	}
}
