package generate

import (
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// withCompanions returns the names, and the names of files that must be generated with
// them. These are the files of the same package and directory, if one of them has
// services. The services of a protocol may be in several files, and its identifiers
// must be unique in all of them. So the code must not depend on which of the files the
// user named.
func (o Options) withCompanions(names []string) []string {
	all := slices.Clone(names)
	seen := make(map[string]bool)
	for _, name := range names {
		dir := path.Dir(name)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		// Read the directory below the root, even if the named file is in an import
		// directory, because the Go code is written below the root.
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
			// Include links to files, because a walk of the directory finds them too.
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

// companions returns the files among beside that must be generated with the named files
// of a directory.
func (o Options) companions(dir string, names, beside []string) []string {
	named := make(map[string]bool)  // by package
	serves := make(map[string]bool) // by package
	packages := make(map[string]string)
	for _, name := range slices.Concat(names, beside) {
		if path.Dir(name) != dir {
			continue
		}
		pkg, services := compile.Outline(o.Source(), name)
		packages[name] = pkg
		named[pkg] = named[pkg] || slices.Contains(names, name)
		serves[pkg] = serves[pkg] || services
	}
	return slices.DeleteFunc(slices.Clone(beside), func(name string) bool {
		pkg := packages[name]
		return pkg == "" || !named[pkg] || !serves[pkg]
	})
}
