package testrun

import (
	"cmp"
	"path"
	"regexp"
	"strings"
)

// A failure is one test that failed, or a package that failed outside of its tests.
type failure struct {
	pkg     string
	test    string // empty for the package itself
	message string // first line that gives the reason
	again   string // the command that runs only this test
	text    string // its output, without a long goroutine dump
	dump    string // the file with the goroutine dump, if there was one
}

// maxKept is how many bytes of output are kept for one test. To see the rest,
// run that test with the command that the table names.
const maxKept = 1 << 20

// An output is the output of one test, without the lines that only name the
// running test.
type output struct {
	text strings.Builder
	cut  bool
}

func (o *output) add(text string) {
	switch {
	case isNoise(text):
	case o.text.Len()+len(text) > maxKept:
		o.cut = true
	default:
		o.text.WriteString(text)
	}
}

func (o *output) String() string {
	if o.cut {
		return o.text.String() + "[the rest of the output is left out]\n"
	}
	return o.text.String()
}

// isNoise reports whether a line only names the running test.
func isNoise(line string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

var (
	// verdict matches a line with which package testing ends a test or a
	// binary.
	verdict = regexp.MustCompile(`^\s*(--- (FAIL|PASS|SKIP): |(FAIL|PASS|ok)\s*$|FAIL\t|exit status )`)

	// crash matches a line with which the runtime reports why the process ends.
	crash = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: |\s*WARNING: DATA RACE|\*\*\* Test )`)

	// script matches the line with which package testscript reports what failed.
	script = regexp.MustCompile(`^\s*FAIL: (\S+)(:\d+: .*)`)

	// location matches the file and line before a message of package testing.
	location = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

	// setting matches a message that only tells how to repeat the test, such as a
	// seed.
	setting = regexp.MustCompile(`^([A-Z][A-Z0-9_]*=|seed \d+$)`)

	goroutine = regexp.MustCompile(`^goroutine \d+ .*\[`)
)

// FirstMessage returns the line of a failed test's output that gives the reason.
// It prefers the runtime's reason for ending the process, then the line of a script
// that failed, then the test's first message, without its file and line.
func FirstMessage(text string) string {
	said, set := message(text)
	return cmp.Or(said, set)
}

// message returns the line that gives the reason, and the first line that only tells
// a setting. Both may be empty.
func message(text string) (said, set string) {
	var first, located string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		if crash.MatchString(line) {
			return strings.TrimPrefix(trimmed, "panic: "), set
		}
		if failed := script.FindStringSubmatch(line); failed != nil {
			said = cmp.Or(said, path.Base(failed[1])+failed[2])
		}
		own := strings.TrimSpace(location.ReplaceAllString(line, ""))
		switch {
		case trimmed == "", isNoise(line), verdict.MatchString(line), strings.Trim(trimmed, "=") == "",
			strings.HasPrefix(line, "# "): // names the package that does not compile
		case setting.MatchString(own):
			set = cmp.Or(set, own)
		case location.MatchString(line):
			located = cmp.Or(located, own)
		default:
			first = cmp.Or(first, trimmed)
		}
	}
	return cmp.Or(said, located, first), set
}

// maxDump is how many lines of goroutines are shown; a longer dump goes to a file.
const maxDump = 40

// splitDump divides output into the part to show and a long goroutine dump. If
// there is no long dump, the second part is empty.
func splitDump(text string) (shown, dump string) {
	var at, lines int
	begins := -1
	for line := range strings.Lines(text) {
		if begins < 0 && goroutine.MatchString(line) {
			begins = at
		}
		if begins >= 0 {
			lines++
		}
		at += len(line)
	}
	if lines <= maxDump {
		return text, ""
	}
	return text[:begins], text[begins:]
}
