package accept_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/codegen/internal/accept"
)

func TestRead(t *testing.T) {
	const text = `
# A reason
#   of two lines.
a/b.proto: field a.B.c: removed, and its number can be used again: add reserved 3;
a/b.proto:12:3: method a.S.M: removed

# Another.

# The one that counts.
  c d.proto: service x: removed
# A third.
c d.proto: service y: removed
`
	set, err := accept.Read(strings.NewReader(text), "accepted.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := []*accept.Entry{
		{Line: 4, File: "a/b.proto", Text: "field a.B.c: removed, and its number can be used again: add reserved 3;", Reason: "A reason of two lines."},
		{Line: 5, File: "a/b.proto", Text: "method a.S.M: removed", Reason: "A reason of two lines."},
		{Line: 10, File: "c d.proto", Text: "service x: removed", Reason: "The one that counts."},
		{Line: 12, File: "c d.proto", Text: "service y: removed", Reason: "A third."},
	}
	if diff := cmp.Diff(want, set.Entries); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e := set.Find("a/b.proto", "method a.S.M: removed"); e == nil || !e.Used {
		t.Errorf("Find returned %v", e)
	}
	if e := set.Find("a/b.proto", "method a.S.N: removed"); e != nil {
		t.Errorf("Find returned %v", e)
	}
}

func TestReadMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"a.proto: x":                      "f:1:1: no reason: write the reason in a comment above this line, after #",
		"#\na.proto: x":                   "f:2:1: no reason: write the reason in a comment above this line, after #",
		"# r\n\na.proto: x":               "f:3:1: no reason: write the reason in a comment above this line, after #",
		"# r\nnonsense":                   "f:2:1: want a line that plugwire-gen check prints, FILE.proto: CHANGE",
		"# r\na.proto: x\na.proto:1:2: x": "f:3:1: duplicate of line 2",
		"# r\na.proto: " + strings.Repeat("x", 1<<20): "f: bufio.Scanner: token too long",
	} {
		if _, err := accept.Read(strings.NewReader(text), "f"); err == nil || err.Error() != want {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

// FuzzRead checks that no file makes Read panic, that each entry has a text and a
// reason, and that Find finds it.
func FuzzRead(f *testing.F) {
	f.Add("# r\na.proto: x\n")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := accept.Read(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		for _, e := range set.Entries {
			if e.Reason == "" || e.Text == "" || set.Find(e.File, e.Text) != e {
				t.Errorf("entry %+v", e)
			}
		}
	})
}
