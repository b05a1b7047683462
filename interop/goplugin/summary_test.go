//go:build unix

package goplugin_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// summary is the table that is printed at the end.
var summary table

// table has the result of each cell.
type table struct {
	mu    sync.Mutex // guards cells
	cells map[cell]string
}

func (t *table) add(c cell, outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cells == nil {
		t.cells = make(map[cell]string)
	}
	t.cells[c] = outcome
}

// String returns a line for each pair and a column for each mode.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.cells) == 0 {
		return "" // the matrix was not run
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "host\tplugin")
	for _, m := range modes {
		fmt.Fprint(w, "\t", m.name)
	}
	fmt.Fprintln(w)
	for _, p := range pairs() {
		fmt.Fprint(w, p.host, "\t", p.plugin)
		for _, m := range modes {
			fmt.Fprint(w, "\t", cmp.Or(t.cells[cell{p, m}], "not run"))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // strings.Builder returns no errors
	return text.String()
}

// describe summarizes a cell: how many checks passed, and what the rules say
// about the others.
func describe(ok int, others map[string]bool) string {
	parts := slices.Sorted(maps.Keys(others))
	if ok > 0 {
		parts = slices.Insert(parts, 0, fmt.Sprintf("%d ok", ok))
	}
	return strings.Join(parts, ", ")
}
