package generate

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// importField is the field number of the imports in a file descriptor.
const importField = 3

// missingCode returns a warning for each import whose Go code should be in this module
// and does not exist. It also returns a warning for each imported file whose Go code is
// not in the directory of its Go package. In both cases the code of the importing file
// does not compile.
func (o Options) missingCode(files []protoreflect.FileDescriptor, packages goPackages, made []string) compile.Mistakes {
	dirs := make(map[string]string)  // directory of the code, by file of made
	written := make(map[string]bool) // directories with generated code
	for _, name := range made {
		dirs[name] = o.codeDir(name, packages)
		written[dirs[name]] = true
	}
	modules := make(map[string]module) // by directory
	var warnings compile.Mistakes
	for _, f := range files {
		from, isMade := dirs[f.Path()]
		if !isMade {
			continue
		}
		if _, ok := modules[from]; !ok {
			modules[from] = moduleAt(from)
		}
		for i := range f.Imports().Len() {
			name := f.Imports().Get(i).Path()
			known := packages[name]
			if known.path == packages[f.Path()].path {
				continue
			}
			dir := o.importedDir(modules[from], name, known)
			if dir == "" || written[dir] || hasCode(dir) {
				continue
			}
			if dirs[name] != "" {
				imported := f.Imports().Get(i).FileDescriptor
				warnings = append(warnings, mistakeAt(imported, fmt.Sprintf("its Go code is in %s, but its Go package %s belongs in %s: use -out, or set the package of the directory with -M",
					fromHere(dirs[name]), known.path, fromHere(dir))))
				continue
			}
			at := f.SourceLocations().ByPath(protoreflect.SourcePath{importField, int32(i)})
			warnings = append(warnings, compile.Mistake{File: f.Path(), Line: at.StartLine + 1, Column: at.StartColumn + 1, Text: fmt.Sprintf(
				"import %q: its Go code, package %s, does not exist: generate %s too", name, known.path, o.path(name))})
		}
	}
	return warnings.Sorted() // removes duplicates
}

// codeDir returns the absolute directory for the code of a file.
func (o Options) codeDir(name string, packages goPackages) string {
	if o.Out == "" {
		return absolute(filepath.Join(o.Root, filepath.FromSlash(path.Dir(name))))
	}
	return absolute(filepath.Join(o.Out, filepath.FromSlash(path.Dir(o.stem(name, packages)))))
}

// A module is a Go module: its path, and its absolute directory. The zero value stands
// for no module.
type module struct{ path, dir string }

// moduleAt returns the module of an absolute directory.
func moduleAt(dir string) module {
	found, below, err := moduleOf(dir)
	if err != nil || found == "" {
		return module{} // derivePackage reports the error
	}
	if below != "." {
		dir = strings.TrimSuffix(dir, string(filepath.Separator)+filepath.FromSlash(below))
	}
	return module{found, dir}
}

// importedDir returns the absolute directory where Go expects the code of an imported
// file. The directory is known if it is in the module of the importing code, or if the
// package was derived from the directory. Otherwise it is empty.
func (o Options) importedDir(from module, name string, known goPackage) string {
	if rest, ok := strings.CutPrefix(known.path+"/", from.path+"/"); ok && from.path != "" {
		return filepath.Join(from.dir, filepath.FromSlash(rest))
	}
	if known.isDerived && o.Packages[name] == "" && o.Out == "" && o.exists(name) {
		return absolute(filepath.Dir(o.locate(name)))
	}
	return ""
}

// exists reports whether a file is on disk. Other files are built into the compiler.
func (o Options) exists(name string) bool {
	_, err := os.Stat(o.locate(name))
	return err == nil
}

// hasCode reports whether a directory has Go code.
func hasCode(dir string) bool {
	entries, _ := os.ReadDir(dir) // an unreadable directory has no code
	return slices.ContainsFunc(entries, func(entry os.DirEntry) bool { return isCode(entry.Name()) })
}

// isCode reports whether a file can belong to an importable package.
func isCode(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}
