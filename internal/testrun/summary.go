package testrun

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// maxMessage is how many bytes of a message a table shows.
const maxMessage = 100

// pattern returns the value of go test's flag -run for exactly one test.
func pattern(test string) string {
	if test == "" {
		return ""
	}
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// Close prints the failures, then the skipped tests, and a table of the
// failures last. It returns an error if a test failed.
func (r *Report) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.screen.put(r.skips.String())
	if len(r.failures) == 0 {
		return nil
	}
	var b strings.Builder
	for _, f := range r.failures {
		_, _ = fmt.Fprintf(&b, "\n==== %s\n%s", strings.TrimSpace(f.pkg+" "+f.test), f.text)
		if f.dump != "" {
			_, _ = fmt.Fprintf(&b, "the goroutines are in %s\n", f.dump)
		}
	}
	b.WriteString("\n" + table(r.failures))
	r.screen.put(b.String())
	return fmt.Errorf("%s in %s", count(len(r.failures), "failure"), count(len(packagesOf(r.failures)), "package"))
}

func packagesOf(failures []failure) map[string]bool {
	found := make(map[string]bool)
	for _, f := range failures {
		found[f.pkg] = true
	}
	return found
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// table is a row for each failure, each followed by the command that runs it again.
func table(failures []failure) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PACKAGE\tTEST\tFAILURE")
	for _, f := range failures {
		test := f.test
		if test == "" {
			test = "(package)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.pkg, test, shorten(f.message))
	}
	_ = w.Flush() // strings.Builder returns no errors
	var out strings.Builder
	for i, row := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		_, _ = fmt.Fprintln(&out, strings.TrimRight(row, " "))
		if i > 0 {
			_, _ = fmt.Fprintf(&out, "    %s\n", failures[i-1].again)
			if dump := failures[i-1].dump; dump != "" {
				_, _ = fmt.Fprintf(&out, "    goroutines: %s\n", dump)
			}
		}
	}
	return out.String()
}

// shorten makes a message one short line of a table.
func shorten(message string) string {
	message = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, message)
	if message == "" {
		return "(nothing was printed)"
	}
	if cells := []rune(message); len(cells) > maxMessage {
		return string(cells[:maxMessage-3]) + "..."
	}
	return message
}

// skips are the tests that did not run, by their reason.
type skips struct {
	reasons []string // in order of their first test
	tests   map[string][]string
}

func (s *skips) add(reason, pkg, test string) {
	if s.tests == nil {
		s.tests = make(map[string][]string)
	}
	if s.tests[reason] == nil {
		s.reasons = append(s.reasons, reason)
	}
	s.tests[reason] = append(s.tests[reason], pkg+" "+test)
}

// maxSkips is how many tests are named for one reason.
const maxSkips = 3

func (s *skips) String() string {
	var b strings.Builder
	for _, reason := range slices.Sorted(slices.Values(s.reasons)) {
		tests := s.tests[reason]
		named := strings.Join(tests[:min(len(tests), maxSkips)], ", ")
		if more := len(tests) - maxSkips; more > 0 {
			named += fmt.Sprintf(" and %d more", more)
		}
		_, _ = fmt.Fprintf(&b, "left out: %s: %s\n", named, shorten(reason))
	}
	return b.String()
}
