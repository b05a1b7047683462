//go:build unix

package pyvider_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// summary is the table that is printed at the end: the result of each pair in
// each way.
var summary table

type table struct {
	mu    sync.Mutex // guards the fields below
	lines []string
	lacks string // why tests were skipped
}

// lack records why tests are skipped.
func (s *table) lack(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacks = reason
}

// note adds the outcome of a test to the table when the test ends.
func (s *table) note(tb testing.TB, host, plugin, way string) {
	tb.Helper()
	tb.Cleanup(func() {
		outcome := "ok"
		switch {
		case tb.Failed():
			outcome = "FAILED"
		case tb.Skipped():
			outcome = "skipped"
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lines = append(s.lines, strings.Join([]string{host, plugin, way, outcome}, "\t"))
	})
}

// String returns a line for each pair and way.
func (s *table) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return ""
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "host\tplugin\tway\toutcome")
	for _, line := range slices.Sorted(slices.Values(s.lines)) {
		fmt.Fprintln(w, line)
	}
	_ = w.Flush() // strings.Builder returns no errors
	if s.lacks != "" {
		fmt.Fprintln(&text, "skipped:", s.lacks)
	}
	return text.String()
}
