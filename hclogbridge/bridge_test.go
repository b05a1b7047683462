package hclogbridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/plugwire/plugwire/hclogbridge"
)

// object reads a line of JSON and drops the fields that differ from run to run.
func object(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	delete(got, "@timestamp")
	delete(got, "time")
	return got
}

func TestHandler(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(hclogbridge.NewHandler(hclog.New(&hclog.LoggerOptions{Name: "app", Level: hclog.Debug, Output: &out, JSONFormat: true})))
	logger = logger.With("plugin", "disk", "pid", "12").WithGroup("g").With("a", 1).WithGroup("")
	logger.Warn("low", slog.Int("free", 3), slog.Group("h", "b", true, slog.Group("none")), slog.Group("", "in", "x"),
		slog.Duration("took", time.Second), slog.Any("error", errors.New("no")), slog.Any("v", valuer{}), slog.Attr{})
	want := map[string]any{
		"@level": "warn", "@message": "low", "@module": "app", "plugin": "disk", "pid": "12", "g.a": 1.0, "g.free": 3.0,
		"g.h.b": true, "g.in": "x", "g.took": 1e9, "g.error": "no", "g.v.n": 1.0,
	}
	if diff := cmp.Diff(want, object(t, out.Bytes())); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.GroupValue(slog.Int("n", 1)) }

func TestHandlerLevels(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{
		-20: "trace", -8: "trace", -5: "trace", -4: "debug", -1: "debug", 0: "info", 3: "info", 4: "warn", 7: "warn", 8: "error", 12: "error",
	} {
		var out bytes.Buffer
		l := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &out, JSONFormat: true})
		h := hclogbridge.NewHandler(l)
		slog.New(h).Log(t.Context(), level, "m")
		if got := object(t, out.Bytes())["@level"]; got != want {
			t.Errorf("level %d is %v, want %s", level, got, want)
		}
		for _, set := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error, hclog.Off} {
			l.SetLevel(set)
			if enabled := hclog.LevelFromString(want) >= set && set != hclog.Off; h.Enabled(context.Background(), level) != enabled {
				t.Errorf("level %d is enabled at %v: %v", level, set, !enabled)
			}
		}
	}
}

// hclog would write such a text unquoted, as two lines. The bridge quotes it.
func TestHandlerWritesOneLine(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a\nb", "a\rb", "a\tb", "\x1b[31mred", "a\u202eb", "a\u2028b", "a\u0085b", "a\u200bb", "a\xffb"} {
		var out bytes.Buffer
		slog.New(hclogbridge.NewHandler(hclog.New(&hclog.LoggerOptions{Output: &out}))).Warn(text, strings.ReplaceAll(text, "\n", "\r"), 1) //nolint:sloglint // the message is the input
		line := strings.TrimSuffix(out.String(), "\n")
		if strings.ContainsAny(line, "\n\r\t\x1b\u202e\u2028\u0085\u200b") || !strings.Contains(line, `\`) {
			t.Errorf("%q became %q", text, out.String())
		}
	}
}

// hclog has no groups: their keys have dots instead. TestHandlerKeepsHclogsKeys logs
// attributes with the keys of hclog's own JSON fields. If they replaced these fields,
// a plugin's line could give the host's record another message or level.
func TestHandlerKeepsHclogsKeys(t *testing.T) {
	var buf bytes.Buffer
	h := hclogbridge.NewHandler(hclog.New(&hclog.LoggerOptions{Name: "app", Output: &buf, JSONFormat: true, IncludeLocation: true}))
	slog.New(h).With("@module", "other", "@Caller", "x").Info("said", "@message", "forged", "@level", "error", "@timestamp", "never")
	got := object(t, buf.Bytes())
	for key, want := range map[string]any{
		"@message": "said", "@level": "info", "@module": "app",
		"fields.@message": "forged", "fields.@level": "error", "fields.@timestamp": "never",
		"fields.@module": "other", "fields.@Caller": "x",
	} {
		if got[key] != want {
			t.Errorf("%s: %v, want %v", key, got[key], want)
		}
	}
	if got["@timestamp"] == "never" || got["@caller"] == nil {
		t.Errorf("hclog's own parts are not there: %v", got)
	}
}

func TestHandlerKeepsSlogsRules(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return hclogbridge.NewHandler(hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &out, JSONFormat: true}))
	}, func(t *testing.T) map[string]any {
		t.Helper()
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for key, value := range line {
			at, name := got, strings.TrimPrefix(key, "@")
			for {
				group, rest, found := strings.Cut(name, ".")
				if !found {
					break
				}
				if at[group] == nil {
					at[group] = map[string]any{}
				}
				at, name = at[group].(map[string]any), rest
			}
			at[name] = value
		}
		got[slog.MessageKey] = got["message"]
		if !strings.HasSuffix(t.Name(), "/zero-time") { // hclog has its own time
			got[slog.TimeKey] = got["timestamp"]
		}
		return got
	})
}

func newLogger(level slog.Leveler) (hclog.Logger, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return hclogbridge.NewLogger(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, AddSource: true})), out
}

func TestLogger(t *testing.T) {
	t.Parallel()
	base, out := newLogger(slog.LevelInfo)
	l := base.Named("a").With("k", 1, "z", "x").Named("b").With("k", 2, 3, "n", "odd")
	l.Warn("low", "free", 3, "error", errors.New("no"), "f", hclog.Fmt("%d%%", 4), "x", hclog.Hex(255), "o", hclog.Octal(8), "b", hclog.Binary(2), "q", hclog.Quote("a\nb"), "last")
	got := object(t, out.Bytes())
	source, _ := got["source"].(map[string]any)
	if function, _ := source["function"].(string); !strings.HasSuffix(function, ".TestLogger") {
		t.Errorf("the source is %v", source)
	}
	delete(got, "source")
	delete(got, hclog.MissingKey) // there are two: checked below
	want := map[string]any{
		"level": "WARN", "msg": "low", "logger": "a.b", "z": "x", "k": 2.0, "3": "n", "free": 3.0, "error": "no", "f": "4%", "x": "0xff",
		"o": "010", "b": "0b10", "q": "a\nb",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	if !strings.Contains(out.String(), `"EXTRA_VALUE_AT_END":"odd"`) || !strings.Contains(out.String(), `"EXTRA_VALUE_AT_END":"last"`) {
		t.Errorf("values without a key: %s", out)
	}
	if n := strings.Count(out.String(), `"k":`); n != 1 {
		t.Errorf("%d pairs with one key: %s", n, out)
	}
	if diff := cmp.Diff([]any{"z", "x", "k", 2, 3, "n", hclog.MissingKey, "odd"}, l.ImpliedArgs()); diff != "" {
		t.Errorf("implied (-want +got):\n%s", diff)
	}
	if l.Name() != "a.b" || l.ResetNamed("c").Name() != "c" || base.Name() != "" {
		t.Errorf("names %q, %q", l.Name(), base.Name())
	}
	out.Reset()
	base.Error("m", hclog.Stacktrace())
	if got := object(t, out.Bytes()); !strings.Contains(got["stacktrace"].(string), "TestLogger") {
		t.Errorf("stack trace in %v", got)
	}
}

// TestLoggerKeepsOneOfEachKey checks hclog's rule for With: of two pairs with the same
// key, the last counts.
func TestLoggerKeepsOneOfEachKey(t *testing.T) {
	logger, buf := newLogger(slog.LevelInfo)
	logger = logger.With("a", 1, "b", 2, "a", 3).With("b", 4, "b", 5)
	logger.Info("x")
	if n := bytes.Count(buf.Bytes(), []byte(`"a":`)); n != 1 {
		t.Errorf("%d pairs with the key a: %s", n, buf)
	}
	got := object(t, buf.Bytes())
	if got["a"] != 3.0 || got["b"] != 5.0 || len(logger.ImpliedArgs()) != 4 {
		t.Errorf("%s, implied: %v", buf, logger.ImpliedArgs())
	}
}

func TestLoggerLevels(t *testing.T) {
	t.Parallel()
	level := new(slog.LevelVar)
	l, out := newLogger(level)
	levels := []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error}
	numbers := []slog.Level{-8, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	for i := range levels {
		for j := range levels {
			level.Set(numbers[i])
			l.SetLevel(levels[j])
			lowest := max(i, j)
			if got := l.GetLevel(); got != levels[lowest] {
				t.Errorf("level of a handler at %v, set to %v, is %v", numbers[i], levels[j], got)
			}
			is := []func() bool{l.IsTrace, l.IsDebug, l.IsInfo, l.IsWarn, l.IsError}
			logs := []func(string, ...any){l.Trace, l.Debug, l.Info, l.Warn, l.Error}
			for n := range levels {
				out.Reset()
				logs[n]("m")
				l.Log(levels[n], "m")
				if want := n >= lowest; is[n]() != want || strings.Count(out.String(), "\n") != map[bool]int{true: 2}[want] {
					t.Errorf("%v at %v: %v, wrote %q", levels[n], levels[lowest], is[n](), out)
				}
			}
		}
	}
	sub := l.Named("x")
	sub.SetLevel(hclog.Off)
	out.Reset()
	l.Error("m")
	l.Log(hclog.Off, "m")
	if l.GetLevel() != hclog.Off || l.IsError() || out.Len() > 0 {
		t.Errorf("a logger that is off wrote %q", out)
	}
	l.SetLevel(hclog.NoLevel)
	level.Set(slog.LevelInfo)
	l.Log(hclog.NoLevel, "m")
	if got := object(t, out.Bytes())["level"]; got != "INFO" {
		t.Errorf("no level is %v", got)
	}
}

func TestStandardLogger(t *testing.T) {
	t.Parallel()
	l, out := newLogger(slog.LevelDebug)
	l.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true}).Print("[WARN] low")
	l.StandardLogger(nil).Print("plain")
	_, err := l.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}).Write([]byte("forced\n"))
	if err != nil {
		t.Error(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		o := object(t, []byte(line))
		got = append(got, o["level"].(string)+" "+o["msg"].(string))
	}
	if diff := cmp.Diff([]string{"WARN low", "INFO plain", "ERROR forced"}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A record goes there and back: from an hclog.Logger through both adaptors.
func TestBothWays(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	inner := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &out, JSONFormat: true})
	l := hclogbridge.NewLogger(hclogbridge.NewHandler(inner)).With("a", 1)
	var wait sync.WaitGroup
	for range 8 { // the race detector finds the failure
		wait.Go(func() { l.Named("x").With("b", 2).Trace("m", "c", 3); l.SetLevel(hclog.Trace) })
	}
	wait.Wait()
	for line := range strings.Lines(out.String()) {
		want := map[string]any{"@level": "trace", "@message": "m", "logger": "x", "a": 1.0, "b": 2.0, "c": 3.0}
		if diff := cmp.Diff(want, object(t, []byte(line))); diff != "" {
			t.Errorf("line (-want +got):\n%s", diff)
		}
	}
}
