package generate

import (
	"cmp"
	"errors"
	"fmt"
	"go/build"
	"go/token"
	"io"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// goPackagePath is where the option go_package stands in a descriptor.
var goPackagePath = protoreflect.SourcePath{8, 11}

// checkText returns an error for each file that is not UTF-8, which the compiler
// accepts in comments and Go does not.
func checkText(names []string, source compile.Source) error {
	var problems []error
	for _, name := range names {
		file, err := source.Open(name)
		if err != nil {
			continue // the compiler says so
		}
		content, err := io.ReadAll(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		if line, column, ok := invalid(string(content)); ok {
			problems = append(problems, errors.New(source.Describe(name, line, column, "not UTF-8: save the file in that encoding")))
		}
	}
	return errors.Join(problems...)
}

// invalid returns the place, counted from 1, of what is not UTF-8 in a text.
func invalid(text string) (line, column int, ok bool) {
	line, column = 1, 1
	for at, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[at:]); size == 1 {
				return line, column, true
			}
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return 0, 0, false
}

// checkPackages returns an error for each file, imported ones too, whose Go
// package is not known or cannot be.
func checkPackages(files []protoreflect.FileDescriptor, source compile.Source) error {
	var problems []error
	seen := make(map[string]bool)
	var check func(f protoreflect.FileDescriptor)
	check = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		if mistake := packageMistake(f); mistake != "" {
			problems = append(problems, mistakeAt(f, source, mistake))
		}
		for i := range f.Imports().Len() {
			check(f.Imports().Get(i).FileDescriptor)
		}
	}
	for _, f := range files {
		check(f)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	return checkDirs(files, source)
}

// checkDirs returns an error for each file whose Go package is not that of the
// files beside it, as all code of a directory is one package.
func checkDirs(files []protoreflect.FileDescriptor, source compile.Source) error {
	var problems []error
	first := make(map[string]protoreflect.FileDescriptor) // by directory
	for _, f := range files {
		dir := path.Dir(f.Path())
		other := first[dir]
		if other == nil {
			first[dir] = f
			continue
		}
		if name, want := packageName(f), packageName(other); name != want {
			problems = append(problems, mistakeAt(f, source, fmt.Sprintf("Go package %s, but %s beside it is of package %s", name, source.Path(other.Path()), want)))
		}
	}
	return errors.Join(problems...)
}

// mistakeAt returns an error about the Go package of a file.
func mistakeAt(f protoreflect.FileDescriptor, source compile.Source, text string) error {
	at := f.SourceLocations().ByPath(goPackagePath) // the file's first line, if there is none
	return errors.New(source.Describe(f.Path(), at.StartLine+1, at.StartColumn+1, text))
}

// notInName matches what protoc-gen-go makes a '_' of in the name of a package.
var notInName = regexp.MustCompile(`[^\p{L}\p{Nd}_]`)

// packageName returns the name that a file's option go_package gives or, if it
// is a path alone, ends with.
func packageName(f protoreflect.FileDescriptor) string {
	importPath, name, _ := strings.Cut(goPackage(f), ";")
	return notInName.ReplaceAllString(cmp.Or(name, path.Base(importPath)), "_")
}

// goPackage returns the option go_package of a file.
func goPackage(f protoreflect.FileDescriptor) string {
	options, _ := f.Options().(*descriptorpb.FileOptions) // nil has no go_package
	return options.GetGoPackage()
}

// packageMistake says what is wrong with the option go_package of a file.
func packageMistake(f protoreflect.FileDescriptor) string {
	option := goPackage(f)
	importPath, name, named := strings.Cut(option, ";")
	switch {
	case importPath == "":
		return `no Go package: add a line like option go_package = "example.com/module/directory";`
	case !strings.ContainsAny(importPath, "./"):
		return fmt.Sprintf("go_package %q: want an import path, which has a dot or a slash, like example.com/module/%s", importPath, importPath)
	case named && name != "" && !token.IsIdentifier(name):
		return fmt.Sprintf("go_package %q: %q cannot be the name of a Go package", option, name)
	default:
		return ""
	}
}

// warnOfNames warns of files whose Go code is for one platform only, as their
// name ends like device_android.
func warnOfNames(names []string, o Options) {
	nowhere := build.Context{
		GOOS: "none", GOARCH: "none", Compiler: "gc",
		OpenFile: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package p\n")), nil },
	}
	for _, name := range names {
		base := name[strings.LastIndex(name, "/")+1:]
		output := strings.TrimSuffix(base, ".proto") + ".pb.go"
		if ok, err := nowhere.MatchFile("", output); err != nil || ok {
			continue
		}
		_, _ = fmt.Fprintf(o.Warnings, "%s:1:1: warning: the go command sees %s as code for one platform, by the end of its name, or not at all: rename the file\n",
			o.Source().Path(name), output) // nowhere to report a failure
	}
}

// checkOutputs returns an error if two .proto files have the same generated
// file, as words.proto and words_grpc.proto do.
func checkOutputs(files []file, o Options) error {
	seen := make(map[string]bool)
	for _, f := range files {
		if seen[f.name] {
			return fmt.Errorf("%s: it would be generated from two .proto files: rename the one whose name ends like it", o.output(f.name))
		}
		seen[f.name] = true
	}
	return nil
}
