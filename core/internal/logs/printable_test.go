package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// hides reports whether r changes how a line is read, by the tables of package
// unicode.
func hides(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func TestHidden(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		// The ranges that Unicode reserves for such characters count, even if they are
		// not assigned.
		setAside := 0xe0000 <= r && r <= 0xe0fff || 0x2060 <= r && r <= 0x206f || 0xfff0 <= r && r <= 0xfff8
		if want := hides(r) || setAside; logs.IsHidden(r) != want {
			t.Errorf("%U is hidden: %v, want %v", r, !want, want)
		}
	}
}

// hostile are texts that change how the line around them is read.
func hostile() []string {
	texts := []string{
		"two\nlines", "\n", "two\r\nlines", "10%\r20%", "a\tb", "NUL \x00", "bell \a", "back \b\b\b", "form \f", "vertical \v",
		"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b[2K\x1b[1A", "\x9b31m", "\u009b31m", "del \x7f",
		"not UTF-8 \xff\xfe", "cut \xe2\x80", "surrogate \xed\xa0\x80", "overlong \xc0\x8a",
		`"quoted"`, `back\slash`, "04:05:06.007 INF plugin=host pid=1 all is well", "x level=error plugin=host",
		"</script>", "{\"level\":\"error\"}", "é ü 漢字 😀", "⚠️ emoji",
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if hides(r) && (r < 0x3000 || r%0x10 == 3) {
			texts = append(texts, "a"+string(r)+"b")
		}
	}
	return texts
}

// stubborn marshals itself, so that zerolog does not escape it.
type stubborn struct{ text string }

func (s stubborn) MarshalJSON() ([]byte, error) {
	return []byte("{\n \"a\" : " + strconv.Quote("x") + ",\n\t\"b\":\"" + strings.NewReplacer(`"`, "", `\`, "", "\n", "").Replace(printableOnly(s.text)) + "\"}"), nil
}

// printableOnly leaves out what may not stand in JSON at all.
func printableOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s)
}

type stringer struct{ text string }

func (s stringer) String() string { return s.text }

// A record is one line on each built-in output, whatever its parts contain, and
// nothing in that line changes how it is read.
func TestRecordIsOneLine(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	outputs := map[string]func(io.Writer, slog.Level) *slog.Logger{"console": logs.Console, "JSON": logs.JSON, "hclog": logs.Hclog}
	for name, output := range outputs {
		for _, text := range hostile() {
			var out bytes.Buffer
			logger := output(&out, logs.LevelTrace)
			for where, log := range map[string]func(){
				"message":     func() { logger.Info(text) }, //nolint:sloglint // the message is the input
				"value":       func() { logger.Warn("m", "k", text) },
				"key":         func() { logger.Warn("m", text, 1) },
				"error":       func() { logger.Error("m", "error", errors.New(text)) },
				"stack":       func() { logger.Error("m", "stack", text) },
				"group":       func() { logger.WithGroup(text).Info("m", text, text) },
				"group value": func() { logger.Info("m", slog.Group(text, text, slog.GroupValue(slog.String(text, text)))) },
				"with":        func() { logger.With(text, text).Info("m") },
				"plugin":      func() { logger.With("plugin", text, "pid", text).Info("m") },
				"list":        func() { logger.Info("m", "k", []string{text}, "m", map[string]any{text: text}) },
				"marshaler":   func() { logger.Info("m", "k", stubborn{text}) },
				"stringer": func() {
					logger.Info("m", "k", stringer{text}, "b", []byte(text), "f", fmt.Errorf("e: %w", errors.New(text)))
				},
			} {
				out.Reset()
				log()
				line, rest, found := strings.Cut(out.String(), "\n")
				if !found || rest != "" {
					t.Errorf("%s of a record on %s, %q, is not one line: %q", where, name, text, out.String())
				}
				checkLine(t, fmt.Sprintf("%s with %q as %s", name, text, where), line)
				if name != "console" && !json.Valid([]byte(line)) {
					t.Errorf("%s with %q as %s is not JSON: %q", name, text, where, line)
				}
			}
		}
	}
}

// checkLine checks that nothing in a line changes how it is read.
func checkLine(t *testing.T, what, line string) {
	t.Helper()
	before := rune(0)
	for i, r := range line {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(line[i:]); size == 1 {
				t.Errorf("%s has bytes that are not UTF-8: %q", what, line)
			}
		}
		if r == '\t' || harmful(before, r) {
			t.Errorf("%s has %U in it: %q", what, r, line)
		}
		before = r
	}
}

// Escapes in JSON lose nothing.
func TestJSONKeepsText(t *testing.T) {
	for _, text := range hostile() {
		if !utf8.ValidString(text) {
			continue
		}
		var out bytes.Buffer
		logs.JSON(&out, slog.LevelInfo).Info(text, "k", text, "l", []string{text}) //nolint:sloglint // the message is the input
		var got struct {
			Message, K string
			L          []string
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Message != text || got.K != text || got.L[0] != text {
			t.Errorf("%q came as %q", text, got)
		}
	}
}

// Whatever a plugin prints is one line on the host's output, and that line
// begins with the host's own fields.
func TestPluginsLineIsOneLine(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, text := range hostile() {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		flat := strings.ReplaceAll(text, "\n", "")
		lines := []string{
			`{"level":"warn","message":` + string(quoted) + `}`,
			`{"level":"warn","message":"m",` + string(quoted) + `:` + string(quoted) + `,"plugin":"host","pid":1,"g":{` + string(quoted) + `:[` + string(quoted) + `]}}`,
			`{"level":"warn","message":"` + strings.NewReplacer(`"`, "", `\`, "", "\x00", "").Replace(flat) + `"}`,
			`level=warn msg=` + strconv.Quote(text) + ` ` + strconv.Quote(text) + `=` + strconv.Quote(text) + ` plugin=host level=info`,
			"[WARN] " + flat, "2026-02-03 04:05:06 [" + flat + "] WARN x", "<4>" + flat, "WARNING:" + flat + ":x",
			"[2026-02-03T04:05:06Z WARN " + flat + "] x", "W1130 18:51:31.993735 1 " + flat + ".go:43] " + flat,
			"2026-11-30T18:51:31.993Z\tWARN\t" + flat + ":29\t" + flat + "\t{" + string(quoted) + ":1}",
			"\x1b[31mWARN\x1b[0m " + flat, "x" + flat,
		}
		for name, output := range map[string]func(io.Writer, slog.Level) *slog.Logger{"console": logs.Console, "JSON": logs.JSON} {
			var out bytes.Buffer
			logger := output(&out, logs.LevelTrace).With("plugin", "mine", "pid", "12")
			if err := logs.NewCollector(logger, logs.CollectorConfig{Stream: "stderr"}).Run(strings.NewReader(strings.Join(lines, "\n"))); err != nil {
				t.Fatal(err)
			}
			records := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(records) != len(lines) {
				t.Errorf("%d lines with %q became %d on %s", len(lines), text, len(records), name)
			}
			for _, got := range records {
				checkLine(t, fmt.Sprintf("%s with %q", name, text), got)
				head := " plugin=mine pid=12 "
				if name == "JSON" {
					head = `"plugin":"mine","pid":"12","message":`
					checkKeys(t, got)
				}
				const mostBefore = len(`{"level":"error+2","time":"2026-02-03T04:05:06.123456789+01:00",`)
				if i := strings.Index(got+" ", head); i < 0 || i > mostBefore {
					t.Errorf("%s does not begin with the plugin: %q", name, got)
				}
			}
		}
	}
}

// checkKeys checks that no key that readers look for is there more than once.
func checkKeys(t *testing.T, line string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(line))
	seen := map[string]bool{}
	if _, err := dec.Token(); err != nil {
		return // nothing was printed
	}
	for dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			t.Errorf("%v: %s", err, line)
			return
		}
		name, _ := key.(string)
		switch name {
		case "level", "time", "message", "msg", "plugin", "pid":
			if seen[name] {
				t.Errorf("two keys %q: %s", name, line)
			}
			seen[name] = true
		}
	}
}

// A plugin's line cannot add a second level to its record, whichever handler writes
// the record.
func TestNoSecondKey(t *testing.T) {
	for _, line := range []string{
		`{"level":"loud","message":"x"}`,
		`{"level":"info","level":"error","msg":"x","message":"y","time":"noon","plugin":"a","pid":2}`,
		`{"@level":"info","@message":"x","level":3,"msg":4,"time":{},"plugin":["a"]}`,
		`{"severity":"INFO","level":42.5,"message":"x","msg":"y","\u006cevel":"z","\u0070lugin":"a"}`,
		`{"level":"INFO","fields":{"message":"x","level":"error","plugin":"a"},"pid":3}`,
		`level=info level=error msg=x msg=y time=noon plugin=a pid=2`,
		"2026-11-30T18:51:31.993Z\tWARN\tx.go:1\tm\t{\"level\":1,\"plugin\":2,\"msg\":3}",
		`E1130 18:51:31.993757   29441 main.go:43] "low disk" level="info" plugin="a" time="1"`,
	} {
		for name, output := range map[string]func(io.Writer) *slog.Logger{
			"JSON":      func(w io.Writer) *slog.Logger { return logs.JSON(w, logs.LevelTrace) },
			"slog JSON": func(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) },
		} {
			var out bytes.Buffer
			logger := output(&out).With("plugin", "mine", "pid", "12")
			if err := logs.NewCollector(logger, logs.CollectorConfig{Stream: "stderr"}).Run(strings.NewReader(line)); err != nil {
				t.Fatal(err)
			}
			checkKeys(t, strings.TrimSpace(out.String()))
			if !strings.Contains(out.String(), `"plugin":"mine"`) {
				t.Errorf("%s of %s: %s", name, line, out.String())
			}
		}
	}
}

func TestConsoleForm(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var out bytes.Buffer
	logger := logs.Console(&out, logs.LevelTrace)
	for want, log := range map[string]func(){
		`INF plugin=mine pid=12 hello free=3`: func() { logger.With("plugin", "mine", "pid", 12).Info("hello", "free", 3) },
		`WRN plugin="a b" m plugin2=c fields.plugin=d`: func() {
			logger.With("plugin", "a b").Warn("m", "plugin2", "c", "plugin", "d")
		},
		`INF m plugin=d level2=x`:                           func() { logger.Info("m", "plugin", "d", "level2", "x") },
		`INF m b=1 a=2 error=x stack=s`:                     func() { logger.Info("m", "stack", "s", "b", 1, "a", 2, "error", errors.New("x")) },
		`INF "two\nlines" k="a b" e="" q="\"" é=é n=null`:   func() { logger.Info("two\nlines", "k", "a b", "e", "", "q", `"`, "é", "é", "n", nil) },
		`INF m "a b"=1 g={"x":[1,"\u202e"]} caller=x.go:12`: func() { logger.Info("m", "a b", 1, slog.Group("g", "x", []any{1, "\u202e"}), "caller", "x.go:12") },
		`INF k=1`:      func() { logger.Info("", "k", 1) },
		`TRC a`:        func() { logger.Log(t.Context(), logs.LevelTrace, "a") },
		`DBG b`:        func() { logger.Log(t.Context(), slog.LevelDebug+1, "b") },
		`FTL c`:        func() { logger.Log(t.Context(), logs.LevelFatal+3, "c") },
		`ERR d\e "f"`:  func() { logger.Error(`d\e "f"`) },
		`INF ⚠️ emoji`: func() { logger.Info("⚠️ emoji") },
	} {
		out.Reset()
		log()
		_, got, _ := strings.Cut(out.String(), " ")
		if got != want+"\n" {
			t.Errorf("console has %q, want %q", got, want)
		}
	}
}
