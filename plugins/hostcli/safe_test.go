package hostcli

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSafe(t *testing.T) {
	for text, want := range map[string]string{
		"hello\tthere\nyou":        "hello\tthere\nyou",
		"\x1b[2J\r\x00\u009b":      `\x1b[2J\r\x00\u009b`,
		"a\u202eb\u2066\u2028c":    `a\u202eb\u2066\u2028c`,
		"שלום, 日本, 👩\u200d💻, it's": "שלום, 日本, 👩\u200d💻, it's",
	} {
		if got := Safe(text); got != want {
			t.Errorf("Safe(%q) = %q, want %q", text, got, want)
		}
	}
}

// The text of an error may come from the plugin.
func TestFailureIsSafe(t *testing.T) {
	var stderr strings.Builder
	s := &Session{program: &Program{Name: "sample-host"}, stdout: io.Discard, stderr: &stderr}
	s.exit(errors.New("\x1b[2Jgone"))
	if got, want := stderr.String(), `sample-host: \x1b[2Jgone`+"\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

// So may the text of a result. A terminal gets it escaped, a file unchanged.
func TestResultIsSafeOnATerminal(t *testing.T) {
	for terminal, want := range map[bool]string{true: `\x1b[2J` + "\n", false: "\x1b[2J\n"} {
		var stdout strings.Builder
		s := &Session{stdout: &stdout, terminal: terminal}
		if err := s.Print("\x1b[2J\n", nil); err != nil || stdout.String() != want {
			t.Errorf("terminal %v: stdout %q, %v, want %q", terminal, stdout.String(), err, want)
		}
	}
}
