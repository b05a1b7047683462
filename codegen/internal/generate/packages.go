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
	if o.Out == "" {
		mistakes = append(mistakes, o.checkDirs(files, found)...)
	}
	for _, f := range files {
		if p := found[f.Path()].path; o.Module != "" && p != "" && p != o.Module && !strings.HasPrefix(p, o.Module+"/") {
			mistakes = append(mistakes, mistakeAt(f, fmt.Sprintf("Go package %s lies outside of -module %s", p, o.Module)))
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
	if at := strings.IndexFunc(importPath, func(r rune) bool { return r <= ' ' || strings.ContainsRune("\"'`\\,=!*|:;<>?()[]{}", r) }); at >= 0 {
		return goPackage{}, fmt.Sprintf("go_package %q: %q has no place in an import path", option, importPath[at:at+1])
	}
	return goPackage{importPath, cmp.Or(name, sanitize(path.Base(importPath))), isOurs}, ""
}

// isRelative reports whether an import path is none, as it is a directory or the
// bare name of a package. The only such packages of Go are in the standard
// library.
func isRelative(importPath string) bool {
	return !strings.ContainsAny(importPath, "./") || strings.HasPrefix(importPath, ".") || strings.HasPrefix(importPath, "/")
}

// derivePackage returns the Go package of the directory in which a file lies,
// which the module says. The name is used if no Go code there has another one.
func (o Options) derivePackage(f protoreflect.FileDescriptor, name string) (goPackage, string) {
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
	if at := strings.IndexFunc(dir, func(r rune) bool {
		return !strings.ContainsRune("/-._~+", r) && (r >= 0x80 || !isWord.MatchString(string(r)))
	}); at >= 0 {
		return goPackage{}, fmt.Sprintf("directory %s: Go cannot import it: rename it, or give the Go package with -M %s=example.com/module/directory", dir, f.Path())
	}
	option, _ := o.option(f)
	return goPackage{path: importPath, name: cmp.Or(nameInDir(at), saidName(option), name, defaultName(importPath))}, ""
}

var isWord = regexp.MustCompile(`^[A-Za-z0-9]$`)

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
	if name == "main" || name == "init" || name == "_" { // which nobody can import
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
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
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
// files beside it, as all code of a directory is one package.
func (o Options) checkDirs(files []protoreflect.FileDescriptor, packages goPackages) compile.Mistakes {
	var mistakes compile.Mistakes
	first := make(map[string]string) // file by directory
	for _, f := range files {
		known, ok := packages[f.Path()]
		if !ok {
			continue
		}
		dir := path.Dir(f.Path())
		other, ok := first[dir]
		if !ok {
			first[dir] = f.Path()
			continue
		}
		if want := packages[other].name; known.name != want {
			mistakes = append(mistakes, mistakeAt(f, fmt.Sprintf("Go package %s, but %s beside it is of package %s: give both the same, or use -out, which gives each package a directory", known.name, o.path(other), want)))
		}
	}
	return mistakes
}

// mistakeAt returns a mistake about the Go package of a file.
func mistakeAt(f protoreflect.FileDescriptor, text string) compile.Mistake {
	at := f.SourceLocations().ByPath(goPackagePath) // the file's first line, if there is none
	return compile.Mistake{File: f.Path(), Line: at.StartLine + 1, Column: at.StartColumn + 1, Text: text}
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
