package generate

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

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
			key := path.Join(path.Dir(name), strings.ToLower(path.Base(name))) // the go command refuses two names that differ in case only
			if other, ok := owners[key]; ok {
				mistakes = append(mistakes, compile.Mistake{File: f.Path(), Line: 1, Column: 1, Text: fmt.Sprintf(
					"%s would be generated from this file and from %s: rename one of them", o.output(name), o.path(other))})
				break
			}
			owners[key] = f.Path()
		}
	}
	return mistakes
}
