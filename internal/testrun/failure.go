package testrun

import (
	"regexp"
	"strings"
)

// A failure is one test that failed, or a package that failed outside of its tests.
type failure struct {
	pkg     string
	test    string // empty: the package itself
	message string // the first line that says why
	again   string // the command that runs only this test
	text    string // what it has printed, without a long goroutine dump
	dump    string // the file with the goroutine dump, if there was one
}

// maxKept is how much output of one test is kept. A test that prints more is
// looked at by itself, with the command that the table names.
const maxKept = 1 << 20

// An output is what one test has printed, without the lines that only tell
// which test runs.
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

// isNoise reports whether a line only tells which test runs.
func isNoise(line string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

var (
	// verdict is a line with which package testing ends a test or a binary.
	verdict = regexp.MustCompile(`^\s*(--- (FAIL|PASS|SKIP): |(FAIL|PASS|ok)\s*$|FAIL\t|exit status )`)

	// crash is a line with which the runtime says why the process ends.
	crash = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: |WARNING: DATA RACE|\*\*\* Test )`)

	// location is where a message of package testing begins.
	location = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

	goroutine = regexp.MustCompile(`^goroutine \d+ .*\[`)
)

// FirstMessage returns the line of a failed test's output that says why it
// failed: how the runtime ended the process, or what the test has said first,
// without its place.
func FirstMessage(text string) string {
	var first, said string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch trimmed := strings.TrimSpace(line); {
		case crash.MatchString(line):
			return strings.TrimPrefix(trimmed, "panic: ")
		case trimmed == "", isNoise(line), verdict.MatchString(line), strings.Trim(trimmed, "=") == "",
			strings.HasPrefix(line, "# "): // the package that does not compile
		case location.MatchString(line) && said == "":
			said = strings.TrimSpace(location.ReplaceAllString(line, ""))
		case first == "":
			first = trimmed
		}
	}
	if said != "" {
		return said
	}
	return first
}

// maxDump is how many lines of goroutines are shown; a longer dump goes to a file.
const maxDump = 40

// splitDump divides output into what is to be shown and a goroutine dump, which
// is empty unless it is long.
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
