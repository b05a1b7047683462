package socketpair_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGuideQuotesTheFiles keeps the guide true: a Go block directly after a
// line <!-- file: NAME --> is that file, whose name is relative to the root of
// the repository.
func TestGuideQuotesTheFiles(t *testing.T) {
	root := filepath.Join("..", "..")
	guide, err := os.ReadFile(filepath.Join(root, "docs", "writing-a-transport.md"))
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{
		"examples/socketpair/socketpair.go":      true,
		"examples/socketpair/socketpair_test.go": true,
	}
	for _, part := range strings.Split(string(guide), "<!-- file: ")[1:] {
		name, block, ok := strings.Cut(part, " -->\n```go\n")
		if !ok {
			t.Fatalf("a Go block must follow the mark directly: %.80q", part)
		}
		quoted, _, ok := strings.Cut(block, "\n```\n")
		if !ok {
			t.Fatalf("%s: the block has no end", name)
		}
		delete(missing, name)
		file, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(strings.Split(string(file), "\n"), strings.Split(quoted+"\n", "\n")); diff != "" {
			t.Errorf("the guide and %s differ (-file +guide):\n%s", name, diff)
		}
	}
	for name := range missing {
		t.Errorf("the guide does not quote %s", name)
	}
}
