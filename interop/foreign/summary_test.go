//go:build unix

package foreign_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// summary is the table that is printed at the end: the result of each plugin in
// each way.
var summary table

type table struct {
	mu       sync.Mutex                   // guards the fields below
	outcomes map[string]map[string]string // by plugin and way
	lacks    map[string]string            // why the tests of a plugin were skipped
}

// lack records why the tests of a plugin are skipped.
func (t *table) lack(plugin, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lacks == nil {
		t.lacks = make(map[string]string)
	}
	t.lacks[plugin] = reason
}

// note adds the outcome of a test to the table when the test ends.
func (t *table) note(tb testing.TB, plugin, way string) {
	tb.Helper()
	tb.Cleanup(func() {
		outcome := "ok"
		switch {
		case tb.Failed():
			outcome = "FAILED"
		case tb.Skipped():
			outcome = "skipped"
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.outcomes == nil {
			t.outcomes = make(map[string]map[string]string)
		}
		if t.outcomes[plugin] == nil {
			t.outcomes[plugin] = make(map[string]string)
		}
		t.outcomes[plugin][way] = outcome
	})
}

// String returns a line for each plugin and a column for each way.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for i, plugin := range slices.Sorted(maps.Keys(t.outcomes)) {
		ways := slices.Sorted(maps.Keys(t.outcomes[plugin]))
		if i == 0 {
			fmt.Fprintln(w, "host\tplugin\t"+strings.Join(ways, "\t"))
		}
		fmt.Fprint(w, "plugwire\t", plugin)
		for _, way := range ways {
			fmt.Fprint(w, "\t", t.outcomes[plugin][way])
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // strings.Builder returns no errors
	for _, plugin := range slices.Sorted(maps.Keys(t.lacks)) {
		fmt.Fprintln(&text, "skipped:", t.lacks[plugin])
	}
	return text.String()
}
