package api

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLists compares the committed lists with the code.
func TestLists(t *testing.T) {
	changes, err := Check("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := Explain(changes); err != nil {
		t.Error(err)
	}
}

// describeSource returns the lines of a package with this source.
func describeSource(t *testing.T, source string) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "p.go", "package p\n"+source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := new(types.Config).Check(repository+"core/p", files, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return describe(pkg)
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		source string
		want   []string
	}{
		{`const A = 1; const B string = "b"; const c = 2`, []string{`const A untyped int = 1`, `const B string = "b"`}},
		{`var V map[string][]*int; var W chan<- [2]error`, []string{`var V map[string][]*int`, `var W chan<- [2]error`}},
		{
			`func F(a int, f func(x string) error, rest ...string) (n int, err error) { return 0, nil }`,
			[]string{`func F(int, func(string) error, ...string) (int, error)`},
		},
		{`func G[T any, U ~int | string](t T, u U) T { return t }`, []string{`func G[T any, U interface{ ~int | string }](T, U) T`}},
		{
			`type S struct { A int; b int; *E }; type E struct{ f []int }; func (S) M(x int) {}; func (*S) P() {}; func (E) Q() {}`,
			[]string{
				`method (E) Q()`, `method (S) M(int)`, `method (S) Q()`, `method (*S) P()`,
				`type E struct`, `type S struct`, `type S struct, A int`, `type S struct, comparable`, `type S struct, embeds *E`,
			},
		},
		{
			`type I interface { M(x int) error; J }; type J interface { N() }`,
			[]string{`type I interface{ M(int) error; N() }`, `type J interface{ N() }`},
		},
		{
			`type O interface { M(); apply(int) }`,
			[]string{`type O interface, M()`, `type O interface, with methods that are not exported`},
		},
		{`type N string; func (N) M() {}`, []string{`method (N) M()`, `type N string`}},
		{`type A = map[string]any`, []string{`type A = map[string]any`}},
		{`type L[T any] struct{ X T }; var V L[int]`, []string{`type L[T any] struct`, `type L[T any] struct, X T`, `var V L[int]`}},
	} {
		want := slices.Clone(tt.want)
		for i, line := range want {
			want[i] = "core/p: " + line
		}
		slices.Sort(want)
		got := describeSource(t, tt.source)
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot\n\t%s\nwant\n\t%s", tt.source, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
}

func TestCompatible(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, before, after string
		compatible          bool
	}{
		{"same", `func F() {}`, `func F() {}`, true},
		{"a new function", ``, `func F() {}`, true},
		{"a function is gone", `func F() {}`, ``, false},
		{"another name of a parameter", `func F(a int) {}`, `func F(b int) {}`, true},
		{"a new parameter", `func F() {}`, `func F(a ...int) {}`, false},
		{"a new field", `type T struct { A int }`, `type T struct { A, B int }`, true},
		{"a field is gone", `type T struct { A, B int }`, `type T struct { A int }`, false},
		{"a struct that cannot be compared", `type T struct { A int }`, `type T struct { A int; b []int }`, false},
		{"a new method", `type T int`, `type T int; func (T) M() {}`, true},
		{"a method of the pointer only", `type T int; func (T) M() {}`, `type T int; func (*T) M() {}`, false},
		{"a new method of an interface", `type I interface { A() }`, `type I interface { A(); B() }`, false},
		{"a new method of a sealed interface", `type I interface { A(); x() }`, `type I interface { A(); B(); x() }`, true},
		{"another value", `const A = 1`, `const A = 2`, false},
		{"what is not exported", `func f() {}; type t struct{}`, ``, true},
	} {
		c := compare("core", describeSource(t, tt.before), describeSource(t, tt.after))
		if err := incompatible([]Change{c}); errors.Is(err, ErrIncompatible) == tt.compatible {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change Change
		want   []string
	}{
		{"nothing", Change{}, nil},
		{"an addition", Change{Added: []string{"core/p: func F()"}}, []string{"core/p: func F()", "run: go tool mage api\n"}},
		{
			"a removal",
			Change{Removed: []string{"core/p: func G()"}, Added: []string{"core/p: func F()"}},
			[]string{"core/p: func G()", "go tool mage api -accept", "CHANGELOG.md"},
		},
	} {
		err := Explain([]Change{tt.change})
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, word := range tt.want {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error lacks %q: %v", tt.name, word, err)
			}
		}
	}
}

// TestUpdate changes a module of its own.
func TestUpdate(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed := func() string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(root, "api", "core.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	put("go.work", "go 1.26.0\n\nuse (\n\t./core\n\t./plugins/sample\n)\n")
	put("core/go.mod", "module "+repository+"core\n\ngo 1.26.0\n")
	put("core/p/p.go", "package p\n\nfunc F() {}\n")
	put("core/internal/q/q.go", "package q\n\nfunc F() {}\n")
	put("core/cmd/c/main.go", "package main\n\nfunc main() {}\n")
	put("plugins/sample/go.mod", "module "+repository+"plugins/sample\n\ngo 1.26.0\n")
	put("plugins/sample/sample.go", "package sample\n\nfunc F() {}\n")
	if err := Update(root, false); err != nil {
		t.Fatal(err)
	}
	if got, want := committed(), "core/p: func F()\n"; got != want {
		t.Errorf("the list is %q, want %q", got, want)
	}
	put("core/p/p.go", "package p\n\nfunc G() {}\n")
	if err := Update(root, false); !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "core/p: func F()") {
		t.Errorf("an incompatible change: %v", err)
	}
	if err := Update(root, true); err != nil {
		t.Fatal(err)
	}
	if got, want := committed(), "core/p: func G()\n"; got != want {
		t.Errorf("the list is %q, want %q", got, want)
	}
	changes, err := Check(root)
	if err != nil || len(changes) > 0 {
		t.Errorf("%v, %v", changes, err)
	}
}
