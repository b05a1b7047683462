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
		_, _ = fmt.Fprintln(o.Warnings, w.Describe(source)) // a failed write cannot be reported
	}
}

// checkNames returns an error for each -protocol flag with a file that is not among the
// names. It prints a warning for each -M flag with a file that is neither named nor
// imported.
func (o Options) checkNames(names []string, files []protoreflect.FileDescriptor) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(o.Glue.Protocols)) {
		if !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf("-protocol %s: no generated file has this name: want a name relative to the root, such as %s", name, names[0]))
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
			o.warn(compile.Mistakes{{Text: fmt.Sprintf("-M %s: no generated or imported file has this name", name)}})
		}
	}
	return errors.Join(errs...)
}

// checkOutputs returns a mistake for each file whose code would overwrite the code of
// another file. For example, words.proto and words_grpc.proto both have a
// words_grpc.pb.go.
func (o Options) checkOutputs(files []protoreflect.FileDescriptor, packages goPackages) compile.Mistakes {
	var mistakes compile.Mistakes
	owners := make(map[string]string)
	for _, f := range files {
		if _, ok := packages[f.Path()]; !ok {
			continue // the file has a mistake already
		}
		stem := o.stem(f.Path(), packages)
		outputs := []string{stem + ".pb.go"}
		if f.Services().Len() > 0 {
			outputs = append(outputs, stem+"_grpc.pb.go", stem+"_plugwire.pb.go")
		}
		for _, name := range outputs {
			key := path.Join(path.Dir(name), strings.ToLower(path.Base(name))) // the go command refuses names that differ only in case
			if other, ok := owners[key]; ok {
				mistakes = append(mistakes, compile.Mistake{File: f.Path(), Line: 1, Column: 1, Text: fmt.Sprintf(
					"both this file and %[2]s generate %[1]s: rename one of them", o.output(name), o.path(other))})
				break
			}
			owners[key] = f.Path()
		}
	}
	return mistakes
}
