package plugin_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCoverage compares COVERAGE.md with the code: each exported name, field and method has a
// row, and each row names a test that is there.
func TestCoverage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../COVERAGE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(string(page), -1) {
		rows[row[1]] = row[2]
	}
	names, _ := declared(t, "../..")
	_, tests := declared(t, ".")
	runner, _ := declared(t, "../../runner")
	for _, name := range runner {
		names = append(names, "runner."+name)
	}
	slices.Sort(names)
	if listed := slices.Sorted(maps.Keys(rows)); !slices.Equal(listed, names) {
		for _, name := range names {
			if _, ok := rows[name]; !ok {
				t.Errorf("COVERAGE.md lacks %s", name)
			}
		}
		for _, name := range listed {
			if !slices.Contains(names, name) {
				t.Errorf("COVERAGE.md has %s, and the code has not", name)
			}
		}
	}
	for name, test := range rows {
		if !slices.Contains(tests, test) {
			t.Errorf("%s: there is no test %s", name, test)
		}
	}
}

// declared returns what the files of a directory export, and the tests in it.
func declared(t *testing.T, dir string) (names, tests []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		isTest := strings.HasSuffix(path, "_test.go")
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				switch {
				case isTest && decl.Recv == nil && strings.HasPrefix(decl.Name.Name, "Test"):
					tests = append(tests, decl.Name.Name)
				case !isTest && decl.Name.IsExported():
					if name, ok := receiver(decl); ok {
						names = append(names, name+decl.Name.Name)
					}
				}
			case *ast.GenDecl:
				if !isTest {
					names = append(names, declaredBy(decl)...)
				}
			}
		}
	}
	return names, tests
}

// receiver returns the type of a method with a dot, nothing for a function, and false for a
// method of a type that is not exported.
func receiver(f *ast.FuncDecl) (string, bool) {
	if f.Recv == nil {
		return "", true
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	name := t.(*ast.Ident)
	return name.Name + ".", name.IsExported()
}

func declaredBy(decl *ast.GenDecl) (names []string) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() {
					names = append(names, name.Name)
				}
			}
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			names = append(names, spec.Name.Name)
			if s, ok := spec.Type.(*ast.StructType); ok {
				names = append(names, fields(spec.Name.Name, s)...)
			}
		}
	}
	return names
}

func fields(of string, s *ast.StructType) (names []string) {
	for _, field := range s.Fields.List {
		for _, name := range field.Names {
			if name.IsExported() {
				names = append(names, of+"."+name.Name)
			}
		}
		if len(field.Names) == 0 { // embedded
			switch t := field.Type.(type) {
			case *ast.Ident:
				names = append(names, of+"."+t.Name)
			case *ast.SelectorExpr:
				names = append(names, of+"."+t.Sel.Name)
			}
		}
	}
	return names
}
