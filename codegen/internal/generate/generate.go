// Package generate goes from .proto files to Go code beside them. Begin with
// [Run]. It needs the go command, and nothing else that is installed.
package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/format"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/pluginpb"

	"github.com/plugwire/plugwire/codegen/internal/compile"
	"github.com/plugwire/plugwire/codegen/internal/glue"
)

// Options say how to generate.
type Options struct {
	// Root is the directory to which the names of files are relative.
	Root string
	// Imports are further directories in which imports are looked for.
	Imports []string
	// GRPCOnly leaves out what binds services to Plugwire.
	GRPCOnly bool
	// Check writes nothing; what is not current is an error.
	Check bool
	// Warnings is where the compiler's warnings go.
	Warnings io.Writer
	// Progress is where it is said what takes long. It may be nil.
	Progress io.Writer
}

// Source returns the files that the options name.
func (o Options) Source() compile.Source {
	return compile.Source{
		Open: func(name string) (io.ReadCloser, error) {
			return open(o.locate(name))
		},
		Path: func(name string) string { return display(o.locate(name)) },
	}
}

// open opens a file. Another thing of that name might be read without end.
func open(path string) (io.ReadCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", display(path))
	}
	return os.Open(path) //nolint:gosec // reading what the user names is the purpose
}

// locate returns the path of the file of that name: below the root or, if it is
// not there, below the first of the other directories that has it.
func (o Options) locate(name string) string {
	for _, dir := range append([]string{o.Root}, o.Imports...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(o.Root, filepath.FromSlash(name))
}

// output returns the path of a generated file.
func (o Options) output(name string) string {
	return display(filepath.Join(o.Root, filepath.FromSlash(name)))
}

// display returns a path as the user would write it: relative to the working
// directory, if it is not absolute.
func display(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	short, err := filepath.Rel(here, absolute) // not ../clock/clock.proto in clock
	if err != nil {
		return path
	}
	return short
}

// A file is a generated one; its name is relative to the root.
type file struct {
	name    string
	content []byte
}

// A Result is what changed on disk: paths, sorted.
type Result struct {
	Written, Removed []string
	// Count is how many .proto files the code is of.
	Count int
}

// Run brings the Go code of the named .proto files up to date. Either every file
// is generated or none is written.
func Run(ctx context.Context, names []string, o Options) (Result, error) {
	if !o.GRPCOnly {
		names = o.withCompanions(names)
	}
	files, err := generate(ctx, names, o)
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("interrupted, and nothing was written: %w", ctx.Err())
	}
	if err != nil {
		return Result{}, err
	}
	surplus, err := strays(names, files, o)
	if err != nil {
		return Result{}, err
	}
	if err := warnOfOrphans(names, o); err != nil {
		return Result{}, err
	}
	if o.Check {
		return Result{Count: len(names)}, compare(files, surplus, o)
	}
	written, err := write(files, o)
	if err != nil {
		return Result{Written: written}, err
	}
	for _, path := range surplus {
		if err := os.Remove(path); err != nil {
			return Result{Written: written}, err
		}
	}
	return Result{written, surplus, len(names)}, nil
}

// generate returns the Go code of the named files.
func generate(ctx context.Context, names []string, o Options) ([]file, error) {
	if err := checkText(names, o.Source()); err != nil {
		return nil, err
	}
	compiled, err := compile.Files(ctx, o.Source(), names, o.Warnings)
	if err != nil {
		return nil, err
	}
	if err := checkPackages(compiled, o.Source()); err != nil {
		return nil, err
	}
	warnOfNames(names, o)
	descriptors := compile.Descriptors(compiled)
	for _, d := range descriptors {
		glue.TameComments(d)
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      new("paths=source_relative"),
		ProtoFile:      descriptors,
	}
	files, err := runTools(ctx, request, o)
	if mistakes, ok := errors.AsType[glue.Errors](err); ok {
		return nil, describe(mistakes, o.Source())
	}
	if err != nil {
		return nil, err
	}
	if err := checkOutputs(files, o); err != nil {
		return nil, err
	}
	for i, f := range files {
		if files[i].content, err = format.Source(f.content); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return files, nil
}

// describe returns an error that shows the line of each mistake, and calls files
// as the user does.
func describe(mistakes glue.Errors, source compile.Source) error {
	errs := make([]error, len(mistakes))
	for i, m := range mistakes {
		errs[i] = errors.New(source.Describe(m.File, m.Line, m.Column, m.Text(source.Path)))
	}
	return errors.Join(errs...)
}

// strays returns the files on disk that were generated from the named ones when
// these had services.
func strays(names []string, files []file, o Options) ([]string, error) {
	var found []string
	for _, name := range names {
		for _, suffix := range []string{"_grpc.pb.go", "_plugwire.pb.go"} {
			stray := strings.TrimSuffix(name, ".proto") + suffix
			if slices.ContainsFunc(files, func(f file) bool { return f.name == stray }) {
				continue
			}
			switch content, err := os.ReadFile(o.output(stray)); {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return nil, err
			case bytes.HasPrefix(content, []byte("// Code generated by protoc-gen-go-")):
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
