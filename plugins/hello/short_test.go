package hello_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mains are the two programs that the root README quotes.
var mains = []string{
	filepath.Join("cmd", "hello-plugin", "main.go"),
	filepath.Join("cmd", "hello-host", "main.go"),
}

// maxLines bounds both programs together, without package clauses, imports and
// blank lines. It is a promise of the framework's design: fewer than 30.
const maxLines = 29

func TestMainsAreShort(t *testing.T) {
	total := 0
	for _, name := range mains {
		content, err := os.ReadFile(name)
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

// countLines counts the lines of a Go file, including comments, without its
// package clause, imports and blank lines.
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
