package generate

import (
	"errors"
	"fmt"
	"go/build"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// importPath is where imports stand in a descriptor.
const importPath = 3

// warn writes warnings.
func (o Options) warn(warnings compile.Mistakes) {
	source := o.Source()
	for _, w := range warnings {
		if !strings.HasPrefix(w.Text, "warning: ") {
			w.Text = "warning: " + w.Text
		}
		_, _ = fmt.Fprintln(o.Warnings, w.Describe(source)) // nowhere to report a failure
	}
}

// checkNames returns an error if a protocol is given to a file that is not among
// the names. A Go package that is given to a file that nothing imports is a
// warning.
func (o Options) checkNames(names []string, files []protoreflect.FileDescriptor) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.Glue.Protocols)) {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("-protocol %s: no such file is generated: want its name relative to the root, such as %s", name, names[0]))
		}
	}
	known := make(map[string]bool)
	for _, name := range names {
		known[name] = true
	}
	for _, f := range compile.Closure(files) {
		known[f.Path()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(o.Packages)) {
		if !known[name] {
			o.warn(compile.Mistakes{{Text: fmt.Sprintf("-M %s: no such file is generated or imported", name)}})
		}
	}
	return errors.Join(errs...)
}

// warnOfNames warns of files whose Go code is for one platform only, as their
// name ends like device_android.
func (o Options) warnOfNames(names []string) {
	nowhere := build.Context{
		GOOS: "none", GOARCH: "none", Compiler: "gc",
		OpenFile: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package p\n")), nil },
	}
	for _, name := range names {
		output := strings.TrimSuffix(path.Base(name), ".proto") + ".pb.go"
		if ok, err := nowhere.MatchFile("", output); err != nil || ok {
			continue
		}
		_, _ = fmt.Fprintf(o.Warnings, "%s:1:1: warning: the go command sees %s as code for one platform, by the end of its name, or not at all: rename the file\n",
			o.path(name), output) // nowhere to report a failure
	}
}

// warnOfMissingCode warns of imports whose Go code belongs into this module and
// is not there: without it the code of the importing file does not compile.
func (o Options) warnOfMissingCode(files []protoreflect.FileDescriptor, packages goPackages, made []string) {
	var warnings compile.Mistakes
	for _, f := range files {
		if !slices.Contains(made, f.Path()) {
			continue
		}
		for i := range f.Imports().Len() {
			name := f.Imports().Get(i).Path()
			known := packages[name]
			if slices.Contains(made, name) || !known.isDerived || o.Packages[name] != "" {
				continue
			}
			code := strings.TrimSuffix(o.locate(name), ".proto") + ".pb.go"
			if o.Out != "" {
				code = o.output(o.stem(name, packages) + ".pb.go")
			}
			if _, err := os.Stat(code); err == nil {
				continue
			}
			at := f.SourceLocations().ByPath(protoreflect.SourcePath{importPath, int32(i)})
			warnings = append(warnings, compile.Mistake{
				File: f.Path(), Line: at.StartLine + 1, Column: at.StartColumn + 1,
				Text: fmt.Sprintf("import %q: its Go code, package %s, is not there: generate %s too", name, known.path, o.path(name)),
			})
		}
	}
	o.warn(warnings)
}

// checkOutputs returns a mistake for each file whose code would have the name of
// another file's, as those of words.proto and words_grpc.proto.
func (o Options) checkOutputs(files []protoreflect.FileDescriptor, packages goPackages) compile.Mistakes {
	var mistakes compile.Mistakes
	owners := make(map[string]string)
	for _, f := range files {
		if _, ok := packages[f.Path()]; !ok {
			continue // has a mistake already
		}
		stem := o.stem(f.Path(), packages)
		outputs := []string{stem + ".pb.go"}
		if f.Services().Len() > 0 {
			outputs = append(outputs, stem+"_grpc.pb.go", stem+"_plugwire.pb.go")
		}
		for _, name := range outputs {
			if other, ok := owners[name]; ok {
				mistakes = append(mistakes, compile.Mistake{File: f.Path(), Line: 1, Column: 1, Text: fmt.Sprintf(
					"%s would be generated from this file and from %s: rename one of them", o.output(name), o.path(other))})
				break
			}
			owners[name] = f.Path()
		}
	}
	return mistakes
}
