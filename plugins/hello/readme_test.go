package hello_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the root directory of the repository.
var root = filepath.Join("..", "..")

// mains are the two programs that the root README quotes, relative to root.
var mains = []string{
	"plugins/hello/cmd/hello-plugin/main.go",
	"plugins/hello/cmd/hello-host/main.go",
}

// maxLines bounds both programs together, without package clauses, imports and
// blank lines. It is a promise of the framework's design: fewer than 30.
const maxLines = 29

func TestReadmeQuotesTheMains(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := quotedFiles(string(readme))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range mains {
		if _, ok := blocks[name]; !ok {
			t.Errorf("README.md does not quote %s", name)
		}
	}
	for name, block := range blocks {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(strings.Split(string(content), "\n"), strings.Split(block, "\n")); diff != "" {
			t.Errorf("README.md and %s differ (-file +README):\n%s", name, diff)
		}
	}
}

// quotedFiles returns the Go blocks of a Markdown text that quote a file, by
// the name in the line directly before the fence: <!-- file: NAME -->
func quotedFiles(markdown string) (map[string]string, error) {
	const mark, end, open, closing = "<!-- file: ", " -->", "```go", "```"
	blocks := make(map[string]string)
	lines := strings.Split(markdown, "\n")
	for i, text := range lines {
		name, ok := strings.CutPrefix(text, mark)
		if !ok {
			continue
		}
		if name, ok = strings.CutSuffix(name, end); !ok {
			return nil, fmt.Errorf("%s: the mark has no end", text)
		}
		rest := lines[i+1:]
		if len(rest) == 0 || rest[0] != open {
			return nil, fmt.Errorf("%s: a Go fence must follow the mark directly", name)
		}
		n := slices.Index(rest, closing)
		if n < 0 {
			return nil, fmt.Errorf("%s: the fence has no end", name)
		}
		blocks[name] = strings.Join(append(rest[1:n:n], ""), "\n")
	}
	return blocks, nil
}

func TestQuotedFiles(t *testing.T) {
	const markdown = "# T\n\n<!-- file: a/b.go -->\n```go\npackage b\n\nvar x = 1\n```\n\n```go\nother\n```\n<!-- file: c.go -->\n```go\npackage c\n```\n<!-- file: d.go -->\n```go\n```\n"
	got, err := quotedFiles(markdown)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a/b.go": "package b\n\nvar x = 1\n", "c.go": "package c\n", "d.go": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
	for _, broken := range []string{
		"<!-- file: a.go\n```go\n```\n",
		"<!-- file: a.go -->\n\n```go\nx\n```\n",
		"<!-- file: a.go -->\n```go\nx\n",
	} {
		if got, err := quotedFiles(broken); err == nil {
			t.Errorf("quotedFiles(%q) = %v, want an error", broken, got)
		}
	}
}

func TestMainsAreShort(t *testing.T) {
	total := 0
	for _, name := range mains {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		n, err := countLines(content)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d lines", name, n)
		total += n
	}
	if total > maxLines {
		t.Errorf("%d lines together, want at most %d", total, maxLines)
	}
}

// countLines counts the lines of a Go file, comments too, but not those of its
// package clause and imports, nor blank ones.
func countLines(source []byte) (int, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", source, 0)
	if err != nil {
		return 0, err
	}
	skipped := make(map[int]bool)
	skip := func(from, to token.Pos) {
		for line := fset.Position(from).Line; line <= fset.Position(to).Line; line++ {
			skipped[line] = true
		}
	}
	skip(file.Package, file.Name.End())
	for _, d := range file.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.IMPORT {
			skip(d.Pos(), d.End())
		}
	}
	n, line := 0, 0
	for text := range strings.Lines(string(source)) {
		if line++; !skipped[line] && strings.TrimSpace(text) != "" {
			n++
		}
	}
	return n, nil
}

func TestCountLines(t *testing.T) {
	const source = "// Package a.\npackage a\n\nimport (\n\t\"fmt\"\n)\n\nimport \"os\"\n\n// f is f.\nfunc f() {\n\n\tfmt.Println(os.Args)\n}\n"
	if n, err := countLines([]byte(source)); n != 5 || err != nil {
		t.Errorf("%d lines, %v, want 5", n, err)
	}
}
