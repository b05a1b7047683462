//go:build unix

package e2e_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestLongLines prints lines far beyond any buffer on both streams, before and
// after the answer: nothing is lost, and the plugin keeps running.
func TestLongLines(t *testing.T) {
	t.Parallel()
	for _, size := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1, 3 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			logged := new(counter)
			var stdout, stderr lockedBuffer
			p := launch(t, command("misbehave", "-flood", strconv.Itoa(size)),
				host.WithLogger(slog.New(logged)), host.WithStdout(&stdout), host.WithStderr(&stderr))
			client := echopb.NewEchoClient(p)
			for range 2 {
				if _, err := client.Fail(testContext(t), fail(fmt.Sprintf("flood:%d", size))); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := client.Unary(testContext(t), payload("alive")); err != nil {
				t.Errorf("the plugin does not live on: %v", err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			for _, stream := range []struct {
				letter string
				got    *lockedBuffer
			}{{"o", &stdout}, {"e", &stderr}} {
				want := strings.Repeat(strings.Repeat(stream.letter, size-1)+"\n", 3)
				if got := stream.got.String(); got != want {
					t.Errorf("stream of %q: %d bytes with %d lines, want %d with 3", stream.letter, len(got), strings.Count(got, "\n"), len(want))
				}
			}
			want := map[byte]int{'o': 3 * (size - 1), 'e': 3 * (size - 1)}
			if diff := cmp.Diff(want, logged.letters()); diff != "" {
				t.Errorf("letters in the log (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLevelsAndFields checks that records of the plugin's logger arrive
// unchanged, and those below the host's level not at all.
func TestLevelsAndFields(t *testing.T) {
	t.Parallel()
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelError} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			logger, book := newJournal(t, level)
			var stderr lockedBuffer
			p := launch(t, command("misbehave"), host.WithLogger(logger), host.WithStderr(&stderr))
			began := time.Now()
			if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("levels")); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			for _, written := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				name := written.String()
				r, ok := book.findBy("leveled", "at", name)
				if ok != (written >= level) {
					t.Errorf("record %q: %t", name, ok)
				}
				// The plugin does not even write records that the host would
				// drop.
				if sent := strings.Contains(stderr.String(), `"at":"`+name+`"`); sent != ok {
					t.Errorf("record %q was written: %t", name, sent)
				}
				if !ok {
					continue
				}
				if r.Level != written || r.Time.Before(began.Truncate(time.Microsecond)) || r.Time.After(time.Now()) {
					t.Errorf("%q: level %v, time %v; began at %v", name, r.Level, r.Time, began)
				}
				want := []slog.Attr{slog.Int64("big", 1<<53+1), slog.Bool("yes", true)}
				if group, _ := r.Attrs["g"].([]slog.Attr); !cmp.Equal(want, group, cmp.Comparer(slog.Attr.Equal)) {
					t.Errorf("%q: fields %v, want %v", name, r.Attrs["g"], want)
				}
				if r.text("plugin") != "misbehave" || r.text("pid") != strconv.Itoa(p.Info().PID) {
					t.Errorf("%q is of plugin %s, process %s", name, r.text("plugin"), r.text("pid"))
				}
			}
		})
	}
}

// TestLinesOfLoggers prints one line of each logger on a plugin's standard
// error.
func TestLinesOfLoggers(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, slog.LevelDebug)
	p := launch(t, command("misbehave"), host.WithLogger(logger))
	client := echopb.NewEchoClient(p)
	for _, tt := range []struct {
		name, line, message string
		level               slog.Level
		attrs               map[string]string
	}{
		{name: "zerolog", line: `{"level":"warn","n":1,"time":"2026-01-02T03:04:05Z","message":"of zerolog"}`, message: "of zerolog", level: slog.LevelWarn, attrs: map[string]string{"n": "1"}},
		{name: "slog", line: `{"time":"2026-01-02T03:04:05Z","level":"ERROR","msg":"of slog","n":1}`, message: "of slog", level: slog.LevelError, attrs: map[string]string{"n": "1"}},
		{name: "slog text", line: `time=2026-01-02T03:04:05Z level=DEBUG msg="of slog's text" n=1`, message: "of slog's text", level: slog.LevelDebug, attrs: map[string]string{"n": "1"}},
		{name: "hclog", line: `{"@level":"debug","@message":"of hclog","@module":"m","@timestamp":"2026-01-02T03:04:05.000000Z","n":1}`, message: "of hclog", level: slog.LevelDebug, attrs: map[string]string{"n": "1", "@module": "m"}},
		{name: "bracketed", line: `[ERROR] of the log package`, message: "of the log package", level: slog.LevelError},
		{name: "plain", line: `just text`, message: "just text", level: slog.LevelInfo, attrs: map[string]string{"stream": "stderr"}},
		{name: "hostile", line: `{"@message":1,"@level":{},"@timestamp":[]}`, level: slog.LevelInfo, message: ""},
		{name: "control characters", line: "a\x1b[31mb", message: `"a\x1b[31mb"`, level: slog.LevelInfo},
	} {
		if _, err := client.Fail(testContext(t), fail("stderr:"+tt.line)); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if tt.message == "" {
			continue // only the end of the host matters
		}
		r := book.await(t, tt.message)
		if r.Level != tt.level {
			t.Errorf("%s: level %v, want %v", tt.name, r.Level, tt.level)
		}
		for key, want := range tt.attrs {
			if got := r.text(key); got != want {
				t.Errorf("%s: %s = %q, want %q", tt.name, key, got, want)
			}
		}
	}
	if err := p.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

// TestLoggerOfHandler logs one record with a handler's own fields.
func TestLoggerOfHandler(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, slog.LevelInfo)
	p := launch(t, echoPlugin(), host.WithLogger(logger))
	for _, how := range []string{"log", "print"} {
		if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail(how)); err != nil {
			t.Fatal(err)
		}
	}
	r := book.await(t, "a word from the handler")
	if r.Level != slog.LevelWarn || r.Attrs["number"] != int64(1<<53+1) || r.Attrs["from"] != "echo" {
		t.Errorf("%+v", r)
	}
	if r := book.await(t, "printed on stdout"); r.text("stream") != "stdout" {
		t.Errorf("%+v", r)
	}
	if r := book.await(t, "printed on stderr"); r.text("stream") != "stderr" {
		t.Errorf("%+v", r)
	}
}
