package testrun

import (
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
	crash = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: |WARNING: DATA RACE|\*\*\* Test )`)

	// location matches the file and line before a message of package testing.
	location = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

	goroutine = regexp.MustCompile(`^goroutine \d+ .*\[`)
)

// FirstMessage returns the line of a failed test's output that gives the
// reason: how the runtime ended the process, or the test's first message,
// without its file and line.
func FirstMessage(text string) string {
	var first, said string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch trimmed := strings.TrimSpace(line); {
		case crash.MatchString(line):
			return strings.TrimPrefix(trimmed, "panic: ")
		case trimmed == "", isNoise(line), verdict.MatchString(line), strings.Trim(trimmed, "=") == "",
			strings.HasPrefix(line, "# "): // names the package that does not compile
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
