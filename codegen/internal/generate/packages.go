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

// goPackagePath is where the option go_package stands in a descriptor.
var goPackagePath = protoreflect.SourcePath{8, 11}

// A goPackage is the Go package of a .proto file.
type goPackage struct {
	path, name string
	// isDerived is true if the file does not say it, so that generators have to
	// be told.
	isDerived bool
}

// String returns the package as after M in the parameter of a generator.
func (p goPackage) String() string { return p.path + ";" + p.name }

// goPackages are those of files, by name.
type goPackages map[string]goPackage

// parameters returns what tells a generator those that the files do not say.
func (p goPackages) parameters(files []protoreflect.FileDescriptor) string {
	var b strings.Builder
	for _, f := range compile.Closure(files) {
		if known := p[f.Path()]; known.isDerived {
			fmt.Fprintf(&b, ",M%s=%s", f.Path(), known)
		}
	}
	return b.String()
}

// goPackages returns the Go packages of files and of all that they import: what
// the user says, or the option go_package. A file that has none gets the package
// of a file beside it that has one, or else its directory in the module that it
// lies in.
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
			mistakes = append(mistakes, mistakeAt(f, "no Go package can be given to a file with ',' or '=' in its name: rename it, or add option go_package"))
		}
	}
	mistakes = append(mistakes, o.checkDirs(files, found)...)
	mistakes = append(mistakes, checkPaths(files, found)...)
	for _, f := range files {
		if p := found[f.Path()].path; o.Module != "" && p != "" && p != o.Module && !strings.HasPrefix(p, o.Module+"/") {
			mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s lies outside of -module %s", p, o.Module)))
		}
	}
	return found, mistakes
}

// unique returns the files, each once: two sets can have a file in common.
func unique(files []protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	seen := make(map[string]bool)
	return slices.DeleteFunc(files, func(f protoreflect.FileDescriptor) bool {
		is := seen[f.Path()]
		seen[f.Path()] = true
		return is
	})
}

// givenPackage returns the Go package that the user or the file says. It has no
// path if they do not say it.
func (o Options) givenPackage(f protoreflect.FileDescriptor) (goPackage, string) {
	option, isOurs := o.option(f)
	importPath, name, _ := strings.Cut(option, ";")
	if name != "" && !token.IsIdentifier(name) {
		return goPackage{}, fmt.Sprintf("go_package %q: %q cannot be the name of a Go package", option, name)
	}
	if isRelative(importPath) {
		return goPackage{}, ""
	}
	if clean := path.Clean(importPath); clean != importPath { // the Go compiler refuses example.com/words/
		importPath, isOurs = clean, true
	}
	if why := unimportable(importPath); why != "" {
		return goPackage{}, fmt.Sprintf("go_package %q: Go cannot import it: %s", option, why)
	}
	return goPackage{importPath, cmp.Or(name, sanitize(path.Base(importPath))), isOurs}, ""
}

// isRelative reports whether an import path is none, as it is a directory or the
// bare name of a package. The only such packages of Go are in the standard
// library.
func isRelative(importPath string) bool {
	return !strings.ContainsAny(importPath, "./") || strings.HasPrefix(importPath, ".") || strings.HasPrefix(importPath, "/")
}

// optionsOnly stands for the Go package of a file that comes with protobuf and has
// none, such as google/protobuf/cpp_features.proto: it has options for generators
// of other languages. Generated code imports the package, and uses nothing of it.
var optionsOnly = goPackage{path: "google.golang.org/protobuf/types/descriptorpb", name: "descriptorpb"}

// derivePackage returns the Go package of the directory in which a file lies,
// which the module says. The name is used if no Go code there has another one.
func (o Options) derivePackage(f protoreflect.FileDescriptor, name string) (goPackage, string) {
	if !o.exists(f.Path()) {
		return optionsOnly, "" // comes with the compiler
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
		return goPackage{}, fmt.Sprintf("no Go package: run go mod init in the root of your module, which gives each directory one, give one with -M %s=example.com/module/directory, or add option go_package", f.Path())
	}
	importPath := path.Join(module, dir)
	if why := unimportable(dir); dir != "." && why != "" {
		return goPackage{}, fmt.Sprintf("directory %s: Go cannot import it: %s: rename it, or give the Go package with -M %s=example.com/module/directory", dir, why, f.Path())
	}
	option, _ := o.option(f)
	return goPackage{path: importPath, name: cmp.Or(nameInDir(at), saidName(option), name, defaultName(importPath))}, ""
}

// saidName returns the name of a package in an option go_package without an
// import path, such as ./proto.
func saidName(option string) string {
	importPath, name, _ := strings.Cut(option, ";")
	if name == "" && strings.Trim(importPath, "./") != "" {
		name = sanitize(path.Base(importPath))
	}
	return name
}

// versionName matches the end of a protobuf package that is a version.
var versionName = regexp.MustCompile(`(?:^|\.)([A-Za-z_][A-Za-z0-9_]*)\.(v[0-9]+(?:(?:alpha|beta|test|p[0-9]+alpha|p[0-9]+beta)[0-9]*)?)$`)

// derivedNames returns the names of Go packages by directory: of acme.words.v1
// it is wordsv1, as v1 says too little. A directory has none if its files do not
// agree.
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

// majorVersion matches the end of a module's path from version 2 on.
var majorVersion = regexp.MustCompile(`[/.]v[0-9]+$`)

// defaultName returns the name of a package as people expect it from its path.
func defaultName(importPath string) string {
	base := path.Base(importPath)
	if strings.Contains(importPath, "/") {
		base = path.Base(majorVersion.ReplaceAllString(importPath, ""))
	}
	name := sanitize(base)
	if slices.Contains([]string{"main", "init", "documentation", "_"}, name) { // Go imports no package of these names
		name += "pb"
	}
	return name
}

// notInName matches what protoc-gen-go makes a '_' of in the name of a package.
var notInName = regexp.MustCompile(`[^\p{L}\p{Nd}_]`)

// sanitize returns the name of a package as protoc-gen-go makes it.
func sanitize(name string) string {
	name = notInName.ReplaceAllString(name, "_")
	if token.IsKeyword(name) || name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// nameInDir returns the name of the package that a person has in a directory. It
// is empty if there is no Go code of a person, or the code of several packages.
func nameInDir(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "" // what is written there tells
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

// checkDirs returns a mistake for each file whose Go package is not that of the
// files or of the Go code beside it: all code of a directory is one package.
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
			mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s, but %s beside it is of package %s: give both the same, or use -out, which gives each package a directory", known.name, o.path(other), want.name)))
		case known.path != want.path:
			mistakes = append(mistakes, placement(f, fmt.Sprintf("Go package %s, but %s beside it is of package %s: give both the same, or use -out, which gives each package a directory", known.path, o.path(other), want.path)))
		}
	}
	return mistakes
}

// checkPaths returns a mistake for each file whose Go package the go command does
// not compile together with the others.
func checkPaths(files []protoreflect.FileDescriptor, packages goPackages) compile.Mistakes {
	var mistakes compile.Mistakes
	first := make(map[string]string) // import path by the same in lower case
	for _, f := range files {
		known, ok := packages[f.Path()]
		if !ok {
			continue
		}
		if known.name == "documentation" {
			mistakes = append(mistakes, mistakeAt(f, fmt.Sprintf("Go package documentation: the go command ignores code of a package of that name: choose another with -M %s=%s;NAME", f.Path(), known.path)))
		}
		folded := strings.ToLower(known.path)
		if first[folded] == "" {
			first[folded] = known.path
		}
		if other := first[folded]; other != known.path {
			mistakes = append(mistakes, mistakeAt(f, fmt.Sprintf("Go package %s: differs from %s in case only, which the go command refuses: rename a directory, or give another Go package with -M", known.path, other)))
		}
	}
	return mistakes
}

// mistakeAt returns a mistake about the Go package of a file.
func mistakeAt(f protoreflect.FileDescriptor, text string) compile.Mistake {
	at := f.SourceLocations().ByPath(goPackagePath) // the file's first line, if there is none
	return compile.Mistake{File: f.Path(), Line: at.StartLine + 1, Column: at.StartColumn + 1, Text: text}
}

// placement returns a mistake that does not concern the files that import f.
func placement(f protoreflect.FileDescriptor, text string) compile.Mistake {
	m := mistakeAt(f, text)
	m.IsPlacement = true
	return m
}

// option returns the Go package of a file as the user gives it or, otherwise, as
// its option go_package says it.
func (o Options) option(f protoreflect.FileDescriptor) (text string, isOurs bool) {
	if text, ok := o.Packages[f.Path()]; ok {
		return text, true
	}
	options, _ := f.Options().(*descriptorpb.FileOptions) // nil has no go_package
	return options.GetGoPackage(), false
}
