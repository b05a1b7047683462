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

// The text of an error may be the plugin's.
func TestFailureIsSafe(t *testing.T) {
	s := &Session{program: &Program{Name: "sample-host"}, stdout: io.Discard}
	var stderr strings.Builder
	s.exit(errors.New("\x1b[2Jgone"), &stderr)
	if got, want := stderr.String(), `sample-host: \x1b[2Jgone`+"\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}
