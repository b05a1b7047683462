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
	m := Module{Name: probe, Lang: Go, Module: "example.com/m"}
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
		if validName.MatchString(name) && (Module{Name: name, Lang: Go, Module: m.Module}).Check() == nil {
			t.Errorf("Check accepts the name %q, which the templates use", name)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, m := range []Module{
		{Name: "hello", Lang: Go, Module: "example.com/hello"},
		{Name: "a1", Lang: Go, Module: "hello"},
		{Name: "my-plugin", Lang: Go, Module: "example.com/my-plugin"},
		{Name: "a-1-b", Lang: Go, Module: "example.com/m"},
		{Name: "hello", Lang: Go, Module: "github.com/Some-One/x_y/v2"},
		{Name: "hello", Lang: Go, Module: "example.com/~me/hello.v2"},
		{Name: "health", Lang: Go, Module: "example.com/health"},
		{Name: "my-plugin", Lang: Python},
		{Name: "class", Lang: Python},
		{Name: "my-plugin", Lang: Node},
		{Name: "prototype", Lang: Python},
	} {
		if err := m.Check(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	for _, m := range []Module{
		{Name: "", Lang: Go, Module: "example.com/m"},
		{Name: "Hello", Lang: Go, Module: "example.com/m"},
		{Name: "1a", Lang: Go, Module: "example.com/m"},
		{Name: "a_b", Lang: Go, Module: "example.com/m"},
		{Name: "init", Lang: Go, Module: "example.com/m"},
		{Name: "func", Lang: Go, Module: "example.com/m"},
		{Name: "fu-nc", Lang: Go, Module: "example.com/m"},
		{Name: "-a", Lang: Go, Module: "example.com/m"},
		{Name: "a-", Lang: Go, Module: "example.com/m"},
		{Name: "a--b", Lang: Go, Module: "example.com/m"},
		{Name: "string", Lang: Go, Module: "example.com/m"},
		{Name: strings.Repeat("a", 101), Lang: Go, Module: "example.com/m"},
		{Name: "hello", Lang: Go, Module: ""},
		{Name: "hello", Lang: Go, Module: "https://example.com/m"},
		{Name: "hello", Lang: Go, Module: "/m"},
		{Name: "hello", Lang: Go, Module: "./m"},
		{Name: "hello", Lang: Go, Module: "example.com/../m"},
		{Name: "hello", Lang: Go, Module: "example.com//m"},
		{Name: "hello", Lang: Go, Module: "example.com/m/"},
		{Name: "hello", Lang: Go, Module: "example.com/m;n"},
		{Name: "hello", Lang: Go, Module: "example.com/m n"},
		{Name: "hello", Lang: Go, Module: "example.com/größe"},
		{Name: "hello", Lang: Go, Module: "-m"},
		{Name: "hello", Lang: Go, Module: "go"},
		{Name: "hello", Lang: Go, Module: "toolchain"},
		{Name: "hello", Module: "example.com/m"},
		{Name: "hello", Lang: "ruby"},
		{Name: "plugin", Lang: Python},
		{Name: "my_plugin", Lang: Python},
		{Name: "health", Lang: Python},
		{Name: "constructor", Lang: Node},
		{Name: "proto-type", Lang: Node},
		{Name: "health", Lang: Node},
		{Name: "con-troller", Lang: Node},
	} {
		if err := m.Check(); err == nil {
			t.Errorf("Check accepts %+v", m)
		}
	}
}
