package generate

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// clashes returns an error that lists duplicate declarations: names that both the
// generated files and other Go code of their directories declare. The other code is
// handwritten, or generated from .proto files outside of this run.
func (o Options) clashes(made []file, surplus []string) (list, err error) {
	removed := make(map[string]bool) // absolute paths, because messages spell a directory in several ways
	for _, path := range surplus {
		removed[absolute(path)] = true
	}
	byDir := make(map[string][]file)
	var dirs []string
	for _, f := range made {
		dir := path.Dir(f.name)
		if byDir[dir] == nil {
			dirs = append(dirs, dir)
		}
		byDir[dir] = append(byDir[dir], f)
	}
	var errs []error
	for _, dir := range dirs {
		at := o.output(dir)
		others, err := otherCode(at, func(name string) bool {
			return removed[absolute(filepath.Join(at, name))] || slices.ContainsFunc(byDir[dir], func(f file) bool { return path.Base(f.name) == name })
		})
		if err != nil {
			return nil, err
		}
		if len(others) == 0 {
			continue
		}
		found, err := compareCode(byDir[dir], others, o.output)
		if err != nil {
			return nil, err
		}
		errs = append(errs, found...)
	}
	if len(errs) == 0 {
		return nil, nil
	}
	return errors.Join(append([]error{errors.New("the code does not compile: remove or rename the duplicate declarations, or generate all .proto files of the directory in one run")}, errs...)...), nil
}

// otherCode returns the paths of the Go files in a directory that Go compiles on this
// platform, except those for which skip is true.
func otherCode(dir string, skip func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		name := entry.Name()
		if !isCode(name) || entry.IsDir() || skip(name) || !isBuilt(dir, name) {
			continue
		}
		found = append(found, filepath.Join(dir, name))
	}
	return found, nil
}

// isBuilt reports whether Go compiles a file on this platform.
func isBuilt(dir, name string) bool {
	is, err := build.Default.MatchFile(dir, name)
	return err == nil && is
}

// compareCode returns an error for each name that both a generated file and another
// file declare, and for each other file with another package name.
func compareCode(made []file, others []string, output func(string) string) ([]error, error) {
	set := token.NewFileSet()
	ours := make(map[string]token.Position)
	pkg := ""
	for _, f := range made {
		if strings.HasSuffix(f.name, "_protoopaque.pb.go") {
			continue // a build tag compiles this file in place of another
		}
		code, err := parser.ParseFile(set, output(f.name), f.content, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		pkg = code.Name.Name
		for name, at := range declarations(code) {
			ours[name] = set.Position(at)
		}
	}
	var errs []error
	for _, path := range others {
		code, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if code == nil {
			return nil, err
		}
		if code.Name.Name != pkg {
			if code.Name.Name != "documentation" { // the go command ignores this package
				errs = append(errs, fmt.Errorf("%s: package %s, but the generated code of the directory is package %s", set.Position(code.Name.Pos()), code.Name.Name, pkg))
			}
			continue
		}
		theirs := declarations(code)
		for _, name := range slices.SortedFunc(maps.Keys(theirs), func(a, b string) int { return int(theirs[a] - theirs[b]) }) {
			of, _, isMember := strings.Cut(name, ".")
			_, isTheirs := theirs[of]
			if _, isOurs := ours[of]; isMember && isTheirs && isOurs {
				continue // the types clash already, and with them all their members
			}
			if our, ok := ours[name]; ok {
				errs = append(errs, fmt.Errorf("%s: %s is also declared in %s", set.Position(theirs[name]), name, our))
			}
		}
	}
	return errs, nil
}

// declarations returns the names that a file declares in its package, with their
// places. A method or a field is TYPE.NAME.
func declarations(code *ast.File) map[string]token.Pos {
	found := make(map[string]token.Pos)
	for _, decl := range code.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			name := decl.Name.Name
			if of := receiver(decl); of != "" {
				name = of + "." + name
			}
			if name != "init" {
				found[name] = decl.Name.Pos()
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				addSpec(found, spec)
			}
		}
	}
	delete(found, "_")
	return found
}

// receiver returns the name of a method's type. It is empty for a function.
func receiver(decl *ast.FuncDecl) string {
	if decl.Recv == nil || len(decl.Recv.List) == 0 {
		return ""
	}
	of := decl.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if ident, ok := of.(*ast.Ident); ok {
		return ident.Name
	}
	return ""
}

// addSpec adds the names that a specification declares: a type with its fields,
// variables or constants.
func addSpec(found map[string]token.Pos, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, ident := range spec.Names {
			found[ident.Name] = ident.Pos()
		}
	case *ast.TypeSpec:
		found[spec.Name.Name] = spec.Name.Pos()
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			return
		}
		for _, field := range fields.Fields.List {
			for _, ident := range field.Names {
				found[spec.Name.Name+"."+ident.Name] = ident.Pos()
			}
		}
	}
}
