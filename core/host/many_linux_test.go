package host_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/plugwire/plugwire/core/host"
)

// TestManyEndAtOnce starts many processes that print and end, more than there are
// processors to read their output: no line is lost, and no process is said to hold the
// output.
func TestManyEndAtOnce(t *testing.T) {
	// Not parallel: the 100,000 records already keep all processors busy.
	const lines = 500
	path := filepath.Join(t.TempDir(), "plugin")
	script := fmt.Sprintf("#!/bin/sh\nseq 1 %d\nseq 1 %d >&2\nexit 5\n", lines, lines)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintln(&want, i+1)
	}
	var starts sync.WaitGroup
	for range 100 {
		starts.Go(func() {
			var stdout, stderr, log bytes.Buffer // each is written to before Launch returns
			logger := slog.New(slog.NewTextHandler(&log, nil))
			launchScript(t, path, host.WithStdout(&stdout), host.WithStderr(&stderr), host.WithLogger(logger))
			if strings.Contains(log.String(), outputLost) {
				return // the machine is too slow, and a warning says what that costs
			}
			if stdout.String() != want.String() || stderr.String() != want.String() {
				t.Errorf("%d lines on stdout and %d on stderr, want %d", strings.Count(stdout.String(), "\n"), strings.Count(stderr.String(), "\n"), lines)
			}
			for _, stream := range []string{"stdout", "stderr"} {
				logged, skipped := countRecords(t, log.String(), stream)
				if logged+skipped != lines {
					t.Errorf("%d lines of %s are logged and %d are told to be missing, want %d together", logged, stream, skipped, lines)
				}
			}
		})
	}
	starts.Wait()
}

// outputLost is the warning that the host could not read all output on a slow machine.
const outputLost = "the end of the plugin's output is lost"

// skippedRecords is the warning that counts the records that the host did not log
// because drainTimeout had passed, as it can on a slow machine.
var skippedRecords = regexp.MustCompile(`level=WARN msg="the last records of the plugin are not logged[^"]*" .*stream=(\w+) records=(\d+)`)

// countRecords returns how many lines of a stream are in the log, and how many a
// warning tells to be missing. Any other warning is an error.
func countRecords(tb testing.TB, log, stream string) (logged, skipped int) {
	tb.Helper()
	for line := range strings.Lines(log) {
		switch m := skippedRecords.FindStringSubmatch(line); {
		case m != nil && m[1] == stream:
			n, err := strconv.Atoi(m[2])
			if err != nil {
				tb.Fatal(err)
			}
			skipped += n
		case m != nil:
		case strings.Contains(line, "level=WARN"):
			tb.Error("warning:", line)
		case strings.Contains(line, "stream="+stream):
			logged++
		}
	}
	return logged, skipped
}
