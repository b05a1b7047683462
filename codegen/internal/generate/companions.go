package generate

import (
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
)

// withCompanions returns the names, and those of the files that have to be
// generated with them: the files of the same package and directory, if any of
// them has services. A protocol may have services in several files, and the names
// of its identifiers must be free in all of them. The generated code must not
// depend on which of the files was named.
func (o Options) withCompanions(names []string) []string {
	all := slices.Clone(names)
	seen := make(map[string]bool)
	for _, name := range names {
		dir := path.Dir(name)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		// Read the directory below the root, even if the named file comes from
		// an import directory: only what lies beside it there is beside it for Go.
		at := filepath.Join(o.Root, filepath.FromSlash(dir))
		entries, err := os.ReadDir(at)
		if err != nil {
			continue // the compiler reports the missing file
		}
		var beside []string
		for _, entry := range entries {
			file := path.Join(dir, entry.Name())
			if path.Ext(file) != ".proto" || slices.Contains(names, file) {
				continue
			}
			// A link to a file counts: the walk of a directory finds links too.
			if info, err := os.Stat(filepath.Join(at, entry.Name())); err == nil && info.Mode().IsRegular() {
				beside = append(beside, file)
			}
		}
		if len(beside) > 0 {
			all = append(all, o.companions(dir, names, beside)...)
		}
	}
	return all
}

// companions returns those files beside the named ones of a directory that have
// to be generated with them.
func (o Options) companions(dir string, names, beside []string) []string {
	named := make(map[string]bool)  // by package
	serves := make(map[string]bool) // by package
	packages := make(map[string]string)
	for _, name := range slices.Concat(names, beside) {
		if path.Dir(name) != dir {
			continue
		}
		pkg, services := o.outline(name)
		packages[name] = pkg
		named[pkg] = named[pkg] || slices.Contains(names, name)
		serves[pkg] = serves[pkg] || services
	}
	return slices.DeleteFunc(slices.Clone(beside), func(name string) bool {
		pkg := packages[name]
		return pkg == "" || !named[pkg] || !serves[pkg]
	})
}

// outline returns the package of a file, and whether the file has services. It
// ignores the imports. A file that cannot be parsed has neither: the compiler
// reports the mistake if the file is needed.
func (o Options) outline(name string) (pkg string, services bool) {
	file, err := o.Source().Open(name)
	if err != nil {
		return "", false
	}
	defer func() { _ = file.Close() }() // was only read
	ignore := reporter.NewReporter(func(reporter.ErrorWithPos) error { return nil }, nil)
	root, err := parser.Parse(name, file, reporter.NewHandler(ignore))
	if err != nil || root == nil {
		return "", false
	}
	for _, decl := range root.Decls {
		switch decl := decl.(type) {
		case *ast.PackageNode:
			pkg = string(decl.Name.AsIdentifier())
		case *ast.ServiceNode:
			services = true
		}
	}
	return pkg, services
}
