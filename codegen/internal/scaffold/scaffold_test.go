package scaffold

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestNamesInTheCode checks that Check refuses every name that the templates use.
// Otherwise the module's package could hide another identifier.
func TestNamesInTheCode(t *testing.T) {
	const probe = "probe"
	m := Module{Name: probe, Module: "example.com/m"}
	used := make(map[string]bool)
	err := fs.WalkDir(templates, "template", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go.tmpl") {
			return err
		}
		content, err := m.render(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if id, ok := node.(*ast.Ident); ok && id != file.Name {
				used[id.Name] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !used[probe] || len(used) < 10 {
		t.Fatalf("the templates use only %v", slices.Sorted(maps.Keys(used)))
	}
	delete(used, probe)
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if validName.MatchString(name) && (Module{Name: name, Module: m.Module}).Check() == nil {
			t.Errorf("Check accepts the name %q, which the templates use", name)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, m := range []Module{
		{Name: "hello", Module: "example.com/hello"},
		{Name: "a1", Module: "hello"},
		{Name: "my-plugin", Module: "example.com/my-plugin"},
		{Name: "a-1-b", Module: "example.com/m"},
		{Name: "hello", Module: "github.com/Some-One/x_y/v2"},
		{Name: "hello", Module: "example.com/~me/hello.v2"},
	} {
		if err := m.Check(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	for _, m := range []Module{
		{Name: "", Module: "example.com/m"},
		{Name: "Hello", Module: "example.com/m"},
		{Name: "1a", Module: "example.com/m"},
		{Name: "a_b", Module: "example.com/m"},
		{Name: "init", Module: "example.com/m"},
		{Name: "func", Module: "example.com/m"},
		{Name: "fu-nc", Module: "example.com/m"},
		{Name: "-a", Module: "example.com/m"},
		{Name: "a-", Module: "example.com/m"},
		{Name: "a--b", Module: "example.com/m"},
		{Name: "string", Module: "example.com/m"},
		{Name: strings.Repeat("a", 101), Module: "example.com/m"},
		{Name: "hello", Module: ""},
		{Name: "hello", Module: "https://example.com/m"},
		{Name: "hello", Module: "/m"},
		{Name: "hello", Module: "./m"},
		{Name: "hello", Module: "example.com/../m"},
		{Name: "hello", Module: "example.com//m"},
		{Name: "hello", Module: "example.com/m/"},
		{Name: "hello", Module: "example.com/m;n"},
		{Name: "hello", Module: "example.com/m n"},
		{Name: "hello", Module: "example.com/größe"},
		{Name: "hello", Module: "-m"},
		{Name: "hello", Module: "go"},
		{Name: "hello", Module: "toolchain"},
	} {
		if err := m.Check(); err == nil {
			t.Errorf("Check accepts %+v", m)
		}
	}
}
