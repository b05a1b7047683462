package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// awkward is a log value that resolves to a group.
type awkward struct{}

func (awkward) LogValue() slog.Value { return slog.GroupValue(slog.Int("a", 1), slog.Group("none")) }

// void resolves to nothing.
type void struct{}

func (void) LogValue() slog.Value { return slog.GroupValue() }

// The host's handler gets exactly the records that a plugin logs with the
// default logger.
func TestRoundTrip(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	rec, _, wait := start(t, r)
	handler := logs.Default(w, logs.LevelTrace).Handler()
	log := func(level slog.Level, message string, attrs ...slog.Attr) {
		record := slog.NewRecord(date(123456789), level, message, 0)
		record.AddAttrs(attrs...)
		if err := handler.Handle(t.Context(), record); err != nil {
			t.Error(err)
		}
	}

	for _, level := range []slog.Level{
		logs.LevelTrace - 1, logs.LevelTrace, slog.LevelDebug, slog.LevelInfo,
		slog.LevelInfo + 2, slog.LevelWarn, slog.LevelError, logs.LevelFatal, logs.LevelFatal + 1,
	} {
		log(level, "")
	}
	log(slog.LevelInfo, "a \"message\"\nwith é and \t",
		slog.Int64("int", math.MaxInt64), slog.Uint64("uint", math.MaxUint64), slog.Float64("float", 0.1), slog.Bool("bool", true),
		slog.Duration("took", 1500*time.Millisecond), slog.Time("at", date(1)), slog.Any("nothing", nil),
		slog.Any("err", errors.New("no \"file\"")), slog.Any("typed nil", (*os.PathError)(nil)),
		slog.Any("addr", netip.MustParseAddr("::1")), slog.Any("list", []string{"a", "b"}), slog.Any("func", math.NaN),
		slog.Float64("nan", math.NaN()),
		slog.Group("g", slog.Int("a", 1), slog.Group("h", slog.String("b", "x")), slog.Group("empty")),
		slog.Any("value", awkward{}), slog.Any("void", void{}), slog.Group("", slog.Int("inlined", 1), slog.Int("level", 2)),
		slog.String("level", "high"), slog.String("time", "noon"), slog.String("message", "other"), slog.Group("own", slog.Int("level", 3), slog.Group("", slog.Int("in", 4))))
	handler = handler.WithAttrs([]slog.Attr{slog.Int("before", 1)}).WithGroup("g").WithGroup("").WithAttrs([]slog.Attr{slog.Int("in", 2)})
	log(slog.LevelInfo, "nested", slog.Int("rec", 3))
	w.Close()
	wait()

	want := []string{
		"DEBUG-5 ", "DEBUG-4 ", "DEBUG ", "INFO ", "INFO+2 ", "WARN ", "ERROR ", "ERROR+4 ", "ERROR+5 ",
		"INFO a \"message\"\nwith é and \t | int=Int64(9223372036854775807) | uint=Uint64(18446744073709551615) | float=Float64(0.1) | bool=Bool(true)" +
			" | took=1.5s | at=2026-02-03T04:05:06.000000001Z | nothing=<nil>(<nil>)" +
			" | err=no \"file\" | typed nil=<nil> | addr=::1 | list=logs.rawJSON([\"a\",\"b\"]) | func=FUNC" +
			" | nan=NaN" +
			" | g={a=Int64(1) h={b=x}} | value={a=Int64(1)} | inlined=Int64(1) | fields.level=Int64(2)" +
			" | fields.level=high | fields.time=noon | fields.message=other | own={level=Int64(3) in=Int64(4)}",
		"INFO nested | before=Int64(1) | g={in=Int64(2) rec=Int64(3)}",
	}
	got := rec.shown()
	for i := range got {
		if before, rest, ok := strings.Cut(got[i], "func=0x"); ok { // an address
			_, rest, _ = strings.Cut(rest, " ")
			got[i] = before + "func=FUNC " + rest
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for _, record := range rec.all() {
		if !record.Time.Equal(date(123456789)) {
			t.Errorf("time of %q is %v", record.Message, record.Time)
		}
	}
}

// A record must be as safe in a JSON log as in the stream: no key may have two
// meanings.
func TestJSONHasNoDuplicates(t *testing.T) {
	var out bytes.Buffer
	logs.JSON(&out, slog.LevelInfo).Info("true", "message", "false", "level", "x", "time", "y")
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "info", "message": "true",
		"fields.message": "false", "fields.level": "x", "fields.time": "y",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestHandlerKeepsSlogsRules(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return logs.JSON(&out, slog.LevelDebug).Handler()
	}, func(t *testing.T) map[string]any {
		t.Helper()
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		got[slog.MessageKey] = got["message"]
		delete(got, "message")
		return got
	})
}

func TestDefaultLevel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	logger := logs.Default(file, slog.LevelWarn)
	if got := logs.Lowest(logger); got != slog.LevelWarn {
		t.Errorf("lowest level is %v, want warn", got)
	}
	logger.Info("not written")
	logger.Warn("written")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), `{"level":"warn","time":"`) || !strings.HasSuffix(string(got), "\",\"message\":\"written\"}\n") {
		t.Errorf("file has %q, want one line of JSON", got)
	}
}

// zerolog's package variables belong to the program.
func TestFormDoesNotFollowZerologsVariables(t *testing.T) {
	level, message, layout := zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimeFieldFormat
	t.Cleanup(func() {
		zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimeFieldFormat = level, message, layout
	})
	zerolog.LevelFieldName, zerolog.MessageFieldName, zerolog.TimeFieldFormat = "l", "m", zerolog.TimeFormatUnix
	var out bytes.Buffer
	logger := logs.JSON(&out, slog.LevelInfo)
	logger.Error("x", "took", time.Second)
	_, rec := collect(t, &out)
	if diff := cmp.Diff([]string{"ERROR x | took=1s"}, rec.shown()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if age := time.Since(rec.all()[0].Time); age < 0 || age > time.Minute {
		t.Errorf("time of the record is %v off", age)
	}
}

func TestConsole(t *testing.T) {
	var out bytes.Buffer
	t.Setenv("NO_COLOR", "")
	logger := logs.Console(&out, slog.LevelInfo)
	logger.Warn("low disk", "free", 3)
	if !strings.Contains(out.String(), "\x1b[") {
		t.Errorf("no colours on a terminal: %q", out.String())
	}

	out.Reset()
	t.Setenv("NO_COLOR", "1")
	record := slog.NewRecord(time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.Local), slog.LevelError, "panic: x", 0)
	record.AddAttrs(slog.String("stack", "goroutine 1:\nmain.main()"), slog.Group("g", slog.String("plugin", "a b")))
	if err := logger.Handler().Handle(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	want := `04:05:06.007 ERR panic: x g={"plugin":"a b"} stack="goroutine 1:\nmain.main()"` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("console (-want +got):\n%s", diff)
	}
}

// The form is hclog's own: hclog v1 reads only strings, and go-plugin v1
// asserts that they are strings.
func TestHclog(t *testing.T) {
	var out bytes.Buffer
	logger := logs.Hclog(&out, logs.LevelTrace)
	for _, level := range []slog.Level{logs.LevelTrace, slog.LevelInfo + 1, logs.LevelFatal} {
		record := slog.NewRecord(date(123456789), level, "hi", 0)
		record.AddAttrs(slog.Int("n", 1), slog.Int("@level", 2))
		if err := logger.Handler().Handle(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	line := `{"@level":"%","@timestamp":"2026-02-03T04:05:06.123456Z","@message":"hi","n":1,"fields.@level":2}` + "\n"
	want := strings.ReplaceAll(line, "%", "trace") + strings.ReplaceAll(line, "%", "info") + strings.ReplaceAll(line, "%", "error")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	_, rec := collect(t, &out)
	if diff := cmp.Diff("DEBUG-4 hi | n=Int64(1) | fields.@level=Int64(2)", rec.shown()[0]); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestForPeople checks that a file gets the form for people, without colour.
func TestForPeople(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	logs.ForPeople(f, slog.LevelInfo).Info("hello", "to", "you")
	got, err := os.ReadFile(f.Name())
	if want := "INF hello to=you\n"; err != nil || !strings.HasSuffix(string(got), want) || strings.Contains(string(got), "\x1b") {
		t.Errorf("%q, %v; want ...%q", got, err, want)
	}
}
