//go:build linux

package e2e_test

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// In go-plugin, a JSON log line whose members have an unexpected type ends the
// host.
func TestD05_HostileLogLines(t *testing.T) {
	t.Parallel()
	lines := []string{
		`{"@message":1}`,
		`{"@message":{"a":[]},"@level":"info"}`,
		`{"@message":null,"@level":"info"}`,
		`{"@message":"a","@level":1}`,
		`{"@message":"a","@level":["info"]}`,
		`{"@message":"a","@level":"info","@timestamp":1e400}`,
		`{"@message":"a","@level":"info","@timestamp":{}}`,
		`{"@message":"a","@level":"info","@timestamp":"yesterday"}`,
		`{}`, `[]`, `null`, `"a"`, `{"@message"`, "{\"@message\":\"\xff\"}",
		strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000),
	}
	logger, book := newJournal(t, slog.LevelDebug)
	script := "cat >&2 <<'EOF'\n" + strings.Join(lines, "\n") + "\nthe last line\nEOF\n" + `exec "$0" "$@"`
	p := launch(t, scripted(script), host.WithLogger(logger))
	book.await(t, "the last line")
	assertAlive(t, p)
	// Each line is a record, in whatever form.
	book.mu.Lock()
	defer book.mu.Unlock()
	records := 0
	for _, r := range book.records {
		if r.text("pid") == strconv.Itoa(p.Info().PID) {
			records++
		}
	}
	if want := len(lines) + 1; records != want {
		t.Errorf("%d records of the plugin, want %d", records, want)
	}
}

// In go-plugin, the standard output is no longer read after a line of more than
// 64 KiB, and writers block.
func TestD07_LongLineOnStdout(t *testing.T) {
	t.Parallel()
	input, begin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	defer begin.Close()
	logger, book := newJournal(t, slog.LevelInfo)
	var stdout lockedBuffer
	// After the answer, a child of the plugin writes when the test asks for it.
	cmd := scripted(`exec 9<&0; (read word <&9; ` + longLine + ` echo after it) & exec "$0" "$@" </dev/null`)
	p := launch(t, cmd, host.WithStdin(input), host.WithLogger(logger), host.WithStdout(&stdout))
	if _, err := fmt.Fprintln(begin, "begin"); err != nil {
		t.Fatal(err)
	}
	book.await(t, "after it")
	if want := strings.Repeat("x", 3145728) + "\nafter it\n"; stdout.String() != want {
		t.Errorf("stdout has %d bytes, want %d", len(stdout.String()), len(want))
	}
	assertAlive(t, p)
}

// In go-plugin, a plugin does not learn which level its host shows, and a line
// that is long, or does not begin with a level, has level debug.
func TestD22_LevelsOfLogLines(t *testing.T) {
	t.Parallel()
	t.Run("the host's level", func(t *testing.T) {
		t.Parallel()
		logger, _ := newJournal(t, slog.LevelWarn)
		var stderr lockedBuffer
		p := launch(t, command("misbehave"), host.WithLogger(logger), host.WithStderr(&stderr))
		if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("levels")); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Count(stderr.String(), `"leveled"`); got != 2 {
			t.Errorf("the plugin has written %d records, want those of levels warn and error:\n%s", got, &stderr)
		}
	})
	t.Run("of lines", func(t *testing.T) {
		t.Parallel()
		logger, book := newJournal(t, slog.LevelDebug)
		const script = `{ echo 'no level'
echo '[WARN] a level'
printf '{"@level":"error","@timestamp":"2026-01-02T03:04:05.000000Z","@message":"'
head -c 200000 /dev/zero | tr '\0' x
echo '"}'; } >&2; exec "$0" "$@"`
		launch(t, scripted(script), host.WithLogger(logger))
		long := strings.Repeat("x", 200000)
		for message, want := range map[string]slog.Level{"no level": slog.LevelInfo, "a level": slog.LevelWarn, long: slog.LevelError} {
			if r := book.await(t, message); r.Level != want {
				t.Errorf("%.20q has level %v, want %v", message, r.Level, want)
			}
		}
	})
}
