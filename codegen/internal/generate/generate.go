// Package generate goes from .proto files to Go code beside them. Begin with
// [Run]. It needs the go command, and nothing else that is installed.
package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/compile"
	"github.com/plugwire/plugwire/codegen/internal/glue"
)

// Options say how to generate.
type Options struct {
	// Root is the directory to which the names of files are relative.
	Root string
	// Imports are further directories in which imports are looked for.
	Imports []string
	// Dirs are the directories of files as the user named them, by name. All other
	// paths are given relative to the working directory.
	Dirs map[string]string
	// Out is the directory below which each Go package has a directory, that of its
	// import path without Module. If it is empty code lies beside the .proto files.
	Out, Module string
	// Packages are the Go packages of files, by name, as import path or as import
	// path;package name. They replace the option go_package.
	Packages map[string]string
	// Glue has the protocols of files that do not say theirs.
	Glue glue.Options
	// GRPCOnly leaves out what binds services to Plugwire.
	GRPCOnly bool
	// Check writes nothing; what is not current is an error.
	Check bool
	// Warnings is where warnings go.
	Warnings io.Writer
	// Progress is where it is said what takes long. It may be nil.
	Progress io.Writer
}

// A file is a generated one; its name is relative to the root.
type file struct {
	name    string
	content []byte
}

// A Result is what changed on disk: paths, sorted. Current is the number of
// .proto files whose code is current now, of all that were named or have to be
// generated with those.
type Result struct {
	Written, Removed []string
	Current, All     int
	// Missing is the number of imports whose Go code is not there: without it the
	// code does not compile.
	Missing int
}

// Run brings the Go code of the named .proto files up to date. A file that has a
// mistake, or imports a file that has one, is left out: the error lists these,
// and the code of the others is written nevertheless. It is also written if it
// declares names that other Go code of the directory has: the error lists these.
// Any other error means that nothing was written.
func Run(ctx context.Context, names []string, o Options) (Result, error) {
	if !o.GRPCOnly {
		names = o.withCompanions(names)
	}
	made, err := generate(ctx, names, o)
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("interrupted; nothing was written: %w", ctx.Err())
	}
	if err != nil {
		return Result{}, err
	}
	surplus, err := strays(made, o)
	if err != nil {
		return Result{}, err
	}
	if o.Out == "" {
		if err := warnOfOrphans(made.names, o); err != nil {
			return Result{}, err
		}
	}
	result := Result{Current: len(made.names), All: len(names), Missing: made.missing}
	clashes, err := o.clashes(made.files, surplus)
	if err != nil {
		return Result{}, err
	}
	if clashes != nil {
		result.Current = 0 // the code of a package compiles as a whole, or not at all
	}
	if o.Check {
		return result, errors.Join(made.mistakes, clashes, compare(made.files, surplus, o))
	}
	if result.Written, err = write(made.files, o); err != nil {
		return Result{Written: result.Written}, err
	}
	for _, path := range surplus {
		if err := os.Remove(path); err != nil {
			return Result{Written: result.Written}, err
		}
	}
	result.Removed = surplus
	return result, errors.Join(made.mistakes, clashes)
}

// An outcome is what generate made.
type outcome struct {
	names    []string // of the .proto files whose code is in files
	packages goPackages
	files    []file
	missing  int   // imports whose Go code is not there
	mistakes error // of all other .proto files
}

// generate returns the Go code of the named files.
func generate(ctx context.Context, names []string, o Options) (made outcome, err error) {
	programs := findTools(ctx, o)
	defer func() { err = errors.Join(err, programs.close()) }()
	compiled, err := compile.Files(ctx, o.Source(), names)
	if err != nil {
		return outcome{}, err
	}
	if err := o.checkNames(names, compiled.All()); err != nil {
		return outcome{}, err
	}
	mistakes := o.hint(compiled.Mistakes)
	packages, more := o.goPackages(compiled.All())
	mistakes = append(mistakes, more...)
	mistakes = append(mistakes, o.checkOutputs(compiled.All(), packages)...)
	made.packages = packages
	for _, set := range compiled.Sets {
		names, files, err := o.generateSet(ctx, programs, set, packages, compiled, &mistakes)
		if err != nil {
			return outcome{}, err
		}
		made.names = append(made.names, names...)
		made.files = append(made.files, files...)
	}
	o.warn(compiled.Warnings)
	missing := o.missingCode(compiled.All(), packages, made.names)
	o.warn(missing)
	made.missing = len(missing)
	made.mistakes = o.explain(names, made.names, mistakes)
	return made, nil
}

// generateSet returns the files of a set that can be generated, and their code. It
// adds the mistakes that only the generator of the glue finds.
func (o Options) generateSet(ctx context.Context, p *programs, set []protoreflect.FileDescriptor, packages goPackages, compiled *compile.Result, mistakes *compile.Mistakes) (names []string, made []file, err error) {
	bad, alone := make(map[string]bool), make(map[string]bool)
	for _, m := range *mistakes {
		if m.IsPlacement {
			alone[m.File] = true
		} else {
			bad[m.File] = true
		}
	}
	set = slices.DeleteFunc(slices.Clone(set), func(f protoreflect.FileDescriptor) bool { return alone[f.Path()] })
	for {
		if !o.GRPCOnly {
			spread(set, compiled, bad)
		}
		if set = without(set, bad); len(set) == 0 {
			return nil, nil, nil
		}
		made, err := o.runAll(ctx, p, set, packages)
		found, ok := errors.AsType[glue.Errors](err)
		before := len(bad)
		for _, m := range found {
			bad[m.File] = true // a file of the set, as only these are generated
			*mistakes = append(*mistakes, compile.Mistake{File: m.File, Line: m.Line, Column: m.Column, Text: m.Text(o.path)})
		}
		switch {
		case err == nil:
			for _, f := range set {
				names = append(names, f.Path())
			}
			return names, made, nil
		case !ok || len(bad) == before: // or this would not end
			return nil, nil, err
		}
	}
}

// spread adds to the bad files those of a set whose protocol may have services in
// one of them: it would be generated without these.
func spread(set []protoreflect.FileDescriptor, compiled *compile.Result, bad map[string]bool) {
	for _, name := range slices.Concat(slices.Collect(maps.Keys(bad)), compiled.Left) {
		for _, f := range set {
			if compiled.Related(f.Path(), name) {
				bad[f.Path()] = true
			}
		}
	}
}

// without returns the files that are not bad and import none that is.
func without(set []protoreflect.FileDescriptor, bad map[string]bool) []protoreflect.FileDescriptor {
	spoiled := make(map[string]bool)
	for _, f := range compile.Closure(set) { // imports come first
		spoiled[f.Path()] = bad[f.Path()]
		for i := range f.Imports().Len() {
			spoiled[f.Path()] = spoiled[f.Path()] || spoiled[f.Imports().Get(i).Path()]
		}
	}
	return slices.DeleteFunc(slices.Clone(set), func(f protoreflect.FileDescriptor) bool { return spoiled[f.Path()] })
}

// maxListed is how many files are listed by name that have no mistake.
const maxListed = 10

// explain returns an error that lists the mistakes, and the files that have none
// and are left out nevertheless. It is nil if there are no mistakes.
func (o Options) explain(names, made []string, mistakes compile.Mistakes) error {
	if len(mistakes) == 0 {
		return nil
	}
	errs := []error{mistakes.Sorted().Error(o.Source())}
	own := make(map[string]bool)
	for _, m := range mistakes {
		own[m.File] = true
	}
	for _, name := range made {
		own[name] = true
	}
	var others []string
	for _, name := range names {
		if !own[name] {
			others = append(others, o.path(name))
		}
	}
	if len(others) > 0 {
		slices.Sort(others)
		text := strings.Join(others[:min(len(others), maxListed)], ", ")
		if len(others) > maxListed {
			text += fmt.Sprintf(" and %d more", len(others)-maxListed)
		}
		errs = append(errs, fmt.Errorf("without a mistake of their own, but not generated, as they import such a file, or have services of the same package beside it: %s", text))
	}
	return errors.Join(errs...)
}

// strays returns the files on disk that were generated from the named ones, and
// that their code no longer has: those of services, and those of another name.
func strays(made outcome, o Options) ([]string, error) {
	current := make(map[string]bool)
	for _, f := range made.files {
		current[f.name] = true
	}
	var found []string
	for _, name := range made.names {
		stem, tools := o.stem(name, made.packages), o.toolStem(name, made.packages)
		outputs := []string{stem + "_grpc.pb.go", stem + "_plugwire.pb.go"}
		if tools != stem {
			outputs = append(outputs, tools+".pb.go", tools+"_grpc.pb.go", tools+"_plugwire.pb.go")
		}
		for _, stray := range outputs {
			if current[stray] {
				continue
			}
			switch content, err := os.ReadFile(o.output(stray)); {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return nil, err
			case bytes.HasPrefix(content, []byte("// Code generated by protoc-gen-go-")),
				stray == tools+".pb.go" && bytes.HasPrefix(content, []byte("// Code generated by protoc-gen-go.")):
				found = append(found, o.output(stray))
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

// compare returns an error that lists the files which differ from what is on
// disk, and those that should not be there.
func compare(files []file, surplus []string, o Options) error {
	var problems []string
	for _, path := range surplus {
		problems = append(problems, path+": stray")
	}
	for _, f := range files {
		switch have, err := os.ReadFile(o.output(f.name)); {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, o.output(f.name)+": missing")
		case err != nil:
			return err
		case !bytes.Equal(have, f.content):
			problems = append(problems, o.output(f.name)+": stale")
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return fmt.Errorf("generated code is not current:\n%s", strings.Join(problems, "\n"))
}
