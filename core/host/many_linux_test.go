package host_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/plugwire/plugwire/core/host"
)

// TestManyEndAtOnce has many processes that print and end, more than there are
// processors for what reads their output: none of it is lost, on any way that it
// takes, and nobody is said to hold it.
func TestManyEndAtOnce(t *testing.T) {
	// Not parallel: beside other tests the 100,000 records can take longer than
	// drainTimeout, and then the host cuts them off.
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
			if stdout.String() != want.String() || stderr.String() != want.String() {
				t.Errorf("%d lines on stdout and %d on stderr, want %d", strings.Count(stdout.String(), "\n"), strings.Count(stderr.String(), "\n"), lines)
			}
			for _, stream := range []string{"stdout", "stderr"} {
				if got := strings.Count(log.String(), "stream="+stream); got != lines {
					t.Errorf("%d lines of %s are logged, want %d", got, stream, lines)
				}
			}
			if strings.Contains(log.String(), "WARN") {
				t.Errorf("the log has a warning:\n%s", warnings(log.String()))
			}
		})
	}
	starts.Wait()
}

func warnings(log string) string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "WARN") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
