package generate

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// goPackagePath is the path of the option go_package in a file descriptor.
var goPackagePath = protoreflect.SourcePath{8, 11}

// A goPackage is the Go package of a .proto file.
type goPackage struct {
	path, name string
	// isDerived is true if the package is not from the file's option go_package. Then
	// generators need a parameter with it.
	isDerived bool
}

// String returns the package as the value of the generators' parameter M.
func (p goPackage) String() string { return p.path + ";" + p.name }

// goPackages are Go packages by the name of the .proto file.
type goPackages map[string]goPackage

// parameters returns the generators' parameters for packages that are not in the
// files.
func (p goPackages) parameters(files []protoreflect.FileDescriptor) string {
	var b strings.Builder
	for _, f := range compile.Closure(files) {
		if known := p[f.Path()]; known.isDerived {
			fmt.Fprintf(&b, ",M%s=%s", f.Path(), known)
		}
	}
	return b.String()
}

// goPackages returns the Go packages of files and of all their imports. The package of
// a file is the first that exists of:
//
//   - the package in the flag -M
//   - the option go_package
//   - for a named file, the package of a named file beside it
//   - the package of its directory, from the module's go.mod
func (o Options) goPackages(files []protoreflect.FileDescriptor) (goPackages, compile.Mistakes) {
	found := make(goPackages)
	var mistakes compile.Mistakes
	isNamed := make(map[string]bool)
	for _, f := range files {
		isNamed[f.Path()] = true
	}
	beside := make(map[string]goPackage)
	var open []protoreflect.FileDescriptor
	for _, f := range unique(compile.Closure(files)) {
		known, text := o.givenPackage(f)
		switch {
		case text != "":
			mistakes = append(mistakes, mistakeAt(f, text))
		case known.path == "":
			open = append(open, f)
		default:
			found[f.Path()] = known
			if _, ok := beside[path.Dir(f.Path())]; !ok && isNamed[f.Path()] {
				beside[path.Dir(f.Path())] = known
			}
		}
	}
	names := derivedNames(open)
	for _, f := range open {
		dir := path.Dir(f.Path())
		derived, ok := beside[dir]
		if !ok || !isNamed[f.Path()] {
			var text string
			if derived, text = o.derivePackage(f, names[dir]); text != "" {
				mistakes = append(mistakes, mistakeAt(f, text))
				continue
			}
		}
		derived.isDerived = true
		found[f.Path()] = derived
	}
	for _, f := range files {
		if known := found[f.Path()]; known.isDerived && strings.ContainsAny(f.Path(), ",=") {
			mistakes = append(mistakes, mistakeAt(f, "a file with ',' or '=' in its name cannot get a Go package: rename it, or add option go_package"))
		}
	}
	mistakes = append(mistakes, o.checkDirs(files, found)...)
	mistakes = append(mistakes, checkPaths(files, found)...)
	for _, f := range files {
		if p := found[f.Path()].path; o.Module != "" && p != "" && p != o.Module && !strings.HasPrefix(p, o.Module+"/") {
			mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s is not below -module %s", p, o.Module)))
		}
	}
	return found, mistakes
}

// unique returns the files without duplicates: two sets can share a file.
func unique(files []protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	seen := make(map[string]bool)
	return slices.DeleteFunc(files, func(f protoreflect.FileDescriptor) bool {
		isDuplicate := seen[f.Path()]
		seen[f.Path()] = true
		return isDuplicate
	})
}

// givenPackage returns the Go package in the flag -M or in the file. Its path is empty
// if there is none. The text is empty, or describes a mistake.
func (o Options) givenPackage(f protoreflect.FileDescriptor) (goPackage, string) {
	option, isOurs := o.option(f)
	importPath, name, _ := strings.Cut(option, ";")
	if name != "" && !token.IsIdentifier(name) {
		return goPackage{}, fmt.Sprintf("go_package %q: %q is not a valid name of a Go package", option, name)
	}
	if isRelative(importPath) {
		return goPackage{}, ""
	}
	if clean := path.Clean(importPath); clean != importPath { // Go refuses example.com/words/
		importPath, isOurs = clean, true
	}
	if why := unimportable(importPath); why != "" {
		return goPackage{}, fmt.Sprintf("go_package %q: Go cannot import it: %s", option, why)
	}
	return goPackage{importPath, cmp.Or(name, sanitize(path.Base(importPath))), isOurs}, ""
}

// isRelative reports whether a text is not an import path but a directory or a bare
// package name. Only packages of the standard library have such import paths.
func isRelative(importPath string) bool {
	return !strings.ContainsAny(importPath, "./") || strings.HasPrefix(importPath, ".") || strings.HasPrefix(importPath, "/")
}

// optionsOnly is the Go package for files of protobuf that have none, such as
// google/protobuf/cpp_features.proto. These files only have options for generators of
// other languages, so generated code imports this package and uses nothing of it.
var optionsOnly = goPackage{path: "google.golang.org/protobuf/types/descriptorpb", name: "descriptorpb"}

// derivePackage returns the Go package of the directory of a file, from the module's
// go.mod. It uses name unless handwritten Go code or the option has another name. The
// text is empty, or describes a mistake.
func (o Options) derivePackage(f protoreflect.FileDescriptor, name string) (goPackage, string) {
	if !o.exists(f.Path()) {
		return optionsOnly, "" // a file of protobuf
	}
	at, err := filepath.Abs(filepath.Dir(o.locate(f.Path())))
	if err != nil {
		return goPackage{}, err.Error()
	}
	module, dir, err := moduleOf(at)
	if err != nil {
		return goPackage{}, err.Error()
	}
	if module == "" {
		return goPackage{}, fmt.Sprintf("no Go package: run go mod init in the root of your module, set the package with -M %s=example.com/module/directory, or add option go_package", f.Path())
	}
	importPath := path.Join(module, dir)
	if why := unimportable(dir); dir != "." && why != "" {
		return goPackage{}, fmt.Sprintf("directory %s: Go cannot import it: %s: rename it, or set the Go package with -M %s=example.com/module/directory", dir, why, f.Path())
	}
	option, _ := o.option(f)
	return goPackage{path: importPath, name: cmp.Or(nameInDir(at), saidName(option), name, defaultName(importPath))}, ""
}

// saidName returns the package name in an option go_package without an import path,
// such as ./proto.
func saidName(option string) string {
	importPath, name, _ := strings.Cut(option, ";")
	if name == "" && strings.Trim(importPath, "./") != "" {
		name = sanitize(path.Base(importPath))
	}
	return name
}

// versionName matches a protobuf package that ends with a version.
var versionName = regexp.MustCompile(`(?:^|\.)([A-Za-z_][A-Za-z0-9_]*)\.(v[0-9]+(?:(?:alpha|beta|test|p[0-9]+alpha|p[0-9]+beta)[0-9]*)?)$`)

// derivedNames returns the names of Go packages by directory. The name for package
// acme.words.v1 is wordsv1, because v1 alone says too little. A directory has no name
// if its files disagree.
func derivedNames(files []protoreflect.FileDescriptor) map[string]string {
	names := make(map[string]string)
	for _, f := range files {
		name := ""
		if m := versionName.FindStringSubmatch(string(f.Package())); m != nil {
			name = sanitize(m[1] + m[2])
		}
		dir := path.Dir(f.Path())
		if other, ok := names[dir]; ok && other != name {
			name = ""
		}
		names[dir] = name
	}
	return names
}

// majorVersion matches the major version at the end of a module path.
var majorVersion = regexp.MustCompile(`[/.]v[0-9]+$`)

// defaultName returns the name that people expect for a package with this path.
func defaultName(importPath string) string {
	base := path.Base(importPath)
	if strings.Contains(importPath, "/") {
		base = path.Base(majorVersion.ReplaceAllString(importPath, ""))
	}
	name := sanitize(base)
	if slices.Contains([]string{"main", "init", "documentation", "_"}, name) { // Go cannot import packages of these names
		name += "pb"
	}
	return name
}

// notInName matches a character that protoc-gen-go replaces with '_' in a package name.
var notInName = regexp.MustCompile(`[^\p{L}\p{Nd}_]`)

// sanitize returns the package name that protoc-gen-go makes of a text.
func sanitize(name string) string {
	name = notInName.ReplaceAllString(name, "_")
	if token.IsKeyword(name) || name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// nameInDir returns the package name of the handwritten Go code in a directory. It is
// empty if there is no handwritten code, or code of several packages.
func nameInDir(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "" // write reports the error
	}
	found := ""
	for _, entry := range entries {
		name := entry.Name()
		if !isCode(name) || strings.HasSuffix(name, ".pb.go") || !isBuilt(dir, name) {
			continue
		}
		code, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.PackageClauseOnly)
		if err != nil || code.Name.Name == "documentation" {
			continue
		}
		if found != "" && found != code.Name.Name {
			return ""
		}
		found = code.Name.Name
	}
	return found
}

// checkDirs returns a mistake for each file whose Go package differs from that of other
// files or of handwritten code in its directory. A directory is one Go package.
func (o Options) checkDirs(files []protoreflect.FileDescriptor, packages goPackages) compile.Mistakes {
	var mistakes compile.Mistakes
	first := make(map[string]string) // file by directory
	for _, f := range files {
		known, ok := packages[f.Path()]
		if !ok {
			continue
		}
		dir := path.Dir(o.stem(f.Path(), packages))
		other, ok := first[dir]
		if !ok {
			first[dir] = f.Path()
			if name := nameInDir(o.output(dir)); name != "" && name != known.name {
				mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s, but the Go code in %s is package %s: give the file that name, with -M %s=%s;%s",
					known.name, o.output(dir), name, f.Path(), known.path, name)))
			}
			continue
		}
		switch want := packages[other]; {
		case known.name != want.name:
			mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s, but %s beside it has package %s: use the same in both, or use -out, which gives each package a directory", known.name, o.path(other), want.name)))
		case known.path != want.path:
			mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s, but %s beside it has package %s: use the same in both, or use -out, which gives each package a directory", known.path, o.path(other), want.path)))
		}
	}
	return mistakes
}

// checkPaths returns a mistake for each file whose Go package the go command ignores, or
// refuses because of another package.
func checkPaths(files []protoreflect.FileDescriptor, packages goPackages) compile.Mistakes {
	var mistakes compile.Mistakes
	first := make(map[string]string) // import path by its lower-case form
	for _, f := range files {
		known, ok := packages[f.Path()]
		if !ok {
			continue
		}
		if known.name == "documentation" {
			mistakes = append(mistakes, mistakeAt(f, fmt.Sprintf("Go package documentation: the go command ignores packages of this name: choose another name with -M %s=%s;NAME", f.Path(), known.path)))
		}
		folded := strings.ToLower(known.path)
		if first[folded] == "" {
			first[folded] = known.path
		}
		if other := first[folded]; other != known.path {
			mistakes = append(mistakes, mistakeAt(f, fmt.Sprintf("Go package %s: differs only in case from %s, which the go command refuses: rename a directory, or set another Go package with -M", known.path, other)))
		}
	}
	return mistakes
}

// mistakeAt returns a mistake about the Go package of a file.
func mistakeAt(f protoreflect.FileDescriptor, text string) compile.Mistake {
	at := f.SourceLocations().ByPath(goPackagePath) // the file's first line, without the option
	return compile.Mistake{File: f.Path(), Line: at.StartLine + 1, Column: at.StartColumn + 1, Text: text}
}

// placement returns a mistake about where to write the code of f. Files that import f
// can be generated.
func placement(f protoreflect.FileDescriptor, text string) compile.Mistake {
	m := mistakeAt(f, text)
	m.IsPlacement = true
	return m
}

// option returns the Go package of a file from the flag -M, or else from its option
// go_package.
func (o Options) option(f protoreflect.FileDescriptor) (text string, isOurs bool) {
	if text, ok := o.Packages[f.Path()]; ok {
		return text, true
	}
	options, _ := f.Options().(*descriptorpb.FileOptions) // nil has no go_package
	return options.GetGoPackage(), false
}
