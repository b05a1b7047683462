package differential

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

//go:embed testdata/*.txt
var files embed.FS

// named returns the programs of all files.
func named(tb testing.TB) (all []namedProgram) {
	tb.Helper()
	entries, err := files.ReadDir("testdata")
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		text, err := files.ReadFile("testdata/" + e.Name())
		if err != nil {
			tb.Fatal(err)
		}
		programs, err := parsePrograms(string(text))
		if err != nil {
			tb.Fatalf("%s: %v", e.Name(), err)
		}
		all = append(all, programs...)
	}
	return all
}

// Every program of a file has one outcome, with grpc-go and on each wire over each
// transport.
func TestPrograms(t *testing.T) {
	t.Parallel()
	programs := named(t)
	columns := startAll(t)
	for _, p := range programs {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			compare(t, p.steps, columns)
		})
	}
}

// compare runs a program over all columns, and compares them with the first.
func compare(tb testing.TB, p program, columns []column) {
	tb.Helper()
	for _, d := range differencesOf(p, columns, hang) {
		tb.Error(d)
	}
}

// differencesOf runs a program over all columns at once. It returns how they differ from the
// first.
func differencesOf(p program, columns []column, patience time.Duration) (all []string) {
	traces, errs := make([][]string, len(columns)), make([]error, len(columns))
	var running sync.WaitGroup
	for i, col := range columns {
		if !lacks(col.name, p) {
			running.Go(func() { traces[i], errs[i] = trace(col, p, patience) })
		}
	}
	running.Wait()
	for i, col := range columns {
		if errs[i] != nil {
			all = append(all, fmt.Sprintf("%s: %v", col.name, errs[i]))
			continue
		}
		if traces[i] == nil || errs[0] != nil {
			continue
		}
		want, got := normalized(p, col.name, traces[0]), normalized(p, col.name, traces[i])
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
			all = append(all, fmt.Sprintf("%s (-) and %s (+) differ:\n%s", columns[0].name, col.name, diff))
		}
	}
	return all
}

// maxScale bounds how much timeouts are stretched on a slow machine.
const maxScale = 64

// trace returns the trace of a program. If a deadline passes too early, it tries again with
// longer ones.
func trace(col column, p program, patience time.Duration) ([]string, error) {
	for scale := 1; ; scale *= 4 {
		lines, err := run(col, p, scale, patience)
		if errors.Is(err, errTooSlow) && scale < maxScale {
			continue
		}
		return lines, err
	}
}
