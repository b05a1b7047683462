package output

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// JSON for a terminal has no character that controls it, and means the same.
func TestObjectOnATerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := New(f, f)
	p.terminal = true
	const said = "\u009b2J\x7f\u202e\U000e0001\u2028 é 世 😀\t\n\x1b\x00"
	if err := p.Object(map[string]string{said: said}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(string(b), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q has a control character at %d", b, i)
	}
	if !strings.Contains(string(b), "é 世 😀") {
		t.Errorf("%q does not show what can be shown", b)
	}
	var got map[string]string
	if err := json.Unmarshal(b, &got); err != nil || got[said] != said {
		t.Errorf("%q means %q, %v", b, got, err)
	}
}
