package generate

import (
	"errors"
	"fmt"
	"go/build"
	"go/token"
	"io"
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
// package is not known.
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
			at := f.SourceLocations().ByPath(goPackagePath) // the file's first line, if there is none
			problems = append(problems, errors.New(source.Describe(f.Path(), at.StartLine+1, at.StartColumn+1, mistake)))
		}
		for i := range f.Imports().Len() {
			check(f.Imports().Get(i).FileDescriptor)
		}
	}
	for _, f := range files {
		check(f)
	}
	return errors.Join(problems...)
}

// packageMistake says what is wrong with the option go_package of a file.
func packageMistake(f protoreflect.FileDescriptor) string {
	options, _ := f.Options().(*descriptorpb.FileOptions) // nil has no go_package
	path, name, named := strings.Cut(options.GetGoPackage(), ";")
	switch {
	case path == "":
		return `no Go package: add a line like option go_package = "example.com/module/directory";`
	case !strings.ContainsAny(path, "./"):
		return fmt.Sprintf("go_package %q: want an import path, which has a dot or a slash, like example.com/module/%s", path, path)
	case named && name != "" && !token.IsIdentifier(name):
		return fmt.Sprintf("go_package %q: %q cannot be the name of a Go package", options.GetGoPackage(), name)
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
