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
}

// Source returns the files that the options name.
func (o Options) Source() compile.Source {
	return compile.Source{
		Open: func(name string) (io.ReadCloser, error) {
			var file io.ReadCloser
			var err error
			for _, dir := range append([]string{o.Root}, o.Imports...) {
				if file, err = os.Open(filepath.Join(dir, filepath.FromSlash(name))); err == nil { //nolint:gosec // reading what the user names is the purpose
					return file, nil
				}
			}
			return nil, err
		},
		Path: o.display,
	}
}

// display returns a file's name as the user would write it.
func (o Options) display(name string) string {
	return filepath.Join(o.Root, filepath.FromSlash(name))
}

// A file is a generated one; its name is relative to the root.
type file struct {
	name    string
	content []byte
}

// Run brings the Go code of the named .proto files up to date and returns the
// files that it wrote. Either every file is generated or none is written.
func Run(ctx context.Context, names []string, o Options) ([]string, error) {
	compiled, err := compile.Files(ctx, o.Source(), names, o.Warnings)
	if err != nil {
		return nil, err
	}
	for _, f := range compiled {
		if goPackage(f) == "" {
			return nil, fmt.Errorf("%s: no Go package: add a line like\n    option go_package = \"example.com/module/directory\";", o.display(f.Path()))
		}
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      new("paths=source_relative"),
		ProtoFile:      compile.Descriptors(compiled),
	}
	files, err := runTools(ctx, request, o.GRPCOnly)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if files[i].content, err = format.Source(f.content); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if o.Check {
		return nil, compare(files, o)
	}
	return write(files, o)
}

// compare returns an error that lists the files which differ from what is on
// disk.
func compare(files []file, o Options) error {
	var problems []string
	for _, f := range files {
		switch have, err := os.ReadFile(o.display(f.name)); {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, o.display(f.name)+": missing")
		case err != nil:
			return err
		case !bytes.Equal(have, f.content):
			problems = append(problems, o.display(f.name)+": stale")
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return fmt.Errorf("generated code is not current:\n%s", strings.Join(problems, "\n"))
}

func write(files []file, o Options) ([]string, error) {
	var written []string
	for _, f := range files {
		path := o.display(f.name)
		// A file that is current keeps its modification time.
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, f.content) { //nolint:gosec // beside the user's file
			continue
		}
		if err := os.WriteFile(path, f.content, 0o644); err != nil { //nolint:gosec // source files are for everyone to read
			return written, err
		}
		written = append(written, path)
	}
	slices.Sort(written)
	return written, nil
}
