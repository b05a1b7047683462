// Package generate writes the Go code of .proto files. Begin with [Run]. It needs the
// go command and no other program.
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

// Options say how to generate. The name of a .proto file is its path relative to the
// root.
type Options struct {
	// Root is the root directory of the .proto files.
	Root string
	// Imports are directories to search for imports after the root.
	Imports []string
	// Dirs maps the directory in a file's name to the spelling of the user. Messages use
	// it. They print all other paths relative to the working directory.
	Dirs map[string]string
	// Out is the directory for generated code. Each Go package gets the subdirectory of
	// its import path, without the prefix Module. If Out is empty, code is written beside
	// the .proto files.
	Out, Module string
	// Packages are Go packages by the name of the file: IMPORTPATH or IMPORTPATH;NAME.
	// They override the option go_package.
	Packages map[string]string
	// Glue has protocols that override those in the files.
	Glue glue.Options
	// GRPCOnly writes no FILE_plugwire.pb.go.
	GRPCOnly bool
	// Check writes no files. Code that is not current is an error.
	Check bool
	// Warnings receives warnings.
	Warnings io.Writer
	// Progress receives a line for each step that takes long. It may be nil.
	Progress io.Writer
}

// A file is a generated file. Its name is relative to the root, or to Out.
type file struct {
	name    string
	content []byte
}

// A Result is the result of [Run].
type Result struct {
	// Written and Removed are the paths of changed files, sorted.
	Written, Removed []string
	// All is the number of .proto files in the run: the named files, and those that must
	// be generated with them. Current is how many of these have current code now.
	Current, All int
	// Missing is the number of imports without Go code. The generated code does not
	// compile without them.
	Missing int
}

// Run updates the Go code of the named .proto files.
//
// Run writes no code for a file with a mistake, nor for files that import it. It still
// writes the code of all other files, and returns an error that lists the mistakes.
// Names that other Go code of a directory declares too are also an error, but the code
// is written. After any other error nothing was written.
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
		result.Current = 0 // a package with a clash does not compile at all
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

// An outcome is the result of generate.
type outcome struct {
	names    []string // .proto files whose code is in files
	packages goPackages
	files    []file
	missing  int   // number of imports without Go code
	mistakes error // mistakes of all other .proto files
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

// generateSet returns the names of the files in a set that it can generate, and their
// code. It adds the mistakes that only package glue finds.
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
			bad[m.File] = true // always a file of the set: no other file was generated
			*mistakes = append(*mistakes, compile.Mistake{File: m.File, Line: m.Line, Column: m.Column, Text: m.Text(o.path)})
		}
		switch {
		case err == nil:
			for _, f := range set {
				names = append(names, f.Path())
			}
			return names, made, nil
		case !ok || len(bad) == before: // without a new bad file, the loop would never end
			return nil, nil, err
		}
	}
}

// spread adds to the bad files each file of a set whose protocol may have services in a
// bad file. Without these services the code would be wrong.
func spread(set []protoreflect.FileDescriptor, compiled *compile.Result, bad map[string]bool) {
	for _, name := range slices.Concat(slices.Collect(maps.Keys(bad)), compiled.Left) {
		for _, f := range set {
			if compiled.Related(f.Path(), name) {
				bad[f.Path()] = true
			}
		}
	}
}

// without returns the files that neither are bad nor import a bad file.
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

// maxListed is how many files explain lists by name.
const maxListed = 10

// explain returns an error that lists the mistakes, and the other files that are not
// generated because of them. It is nil if there are no mistakes.
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
		errs = append(errs, fmt.Errorf("not generated either, because they import a file with a mistake or have services of its package: %s", text))
	}
	return errors.Join(errs...)
}

// strays returns generated files of the named files that are on disk, but no longer part
// of the code: code of removed services, and code under a former name.
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

// compare returns an error that lists the files on disk that are missing, stale or
// stray.
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
