package hunt

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// maxMessage is how many bytes of a message a table shows.
const maxMessage = 120

// Table lists the tests that failed, and those that did not run as often as
// wanted. With full it lists all.
func Table(results []Result, full bool) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PACKAGE\tTEST\tRUNS\tFAILURES\tFIRST MESSAGE")
	var runs, failures, failed, short, listed int
	for _, r := range results {
		runs, failures = runs+r.Runs, failures+r.Failed
		if r.Failed > 0 {
			failed++
		}
		if r.Runs < r.Wanted {
			short++
		}
		if !full && r.Failed == 0 {
			continue
		}
		listed++
		test := r.Test
		if test == "" {
			test = "(whole)"
		}
		message := r.First
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d of %d\t%d\t%s\n", r.Package, test, r.Runs, r.Wanted, r.Failed, message)
	}
	_ = w.Flush() // strings.Builder returns no errors
	table := b.String()
	if listed == 0 {
		table = ""
	}
	return table + fmt.Sprintf("%d tests and binaries, %d runs: %d of them failed, %d times; %d did not run as often as wanted\n",
		len(results), runs, failed, failures, short)
}
