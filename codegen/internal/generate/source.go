package generate

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// Source returns the .proto files below the root and the import directories.
func (o Options) Source() compile.Source {
	return compile.Source{
		Open: func(name string) (io.ReadCloser, error) { return open(o.locate(name)) },
		Path: o.path,
	}
}

// open opens a regular file. Reading anything else, such as a pipe, might never end.
func open(path string) (io.ReadCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", display(path))
	}
	return os.Open(path) //nolint:gosec // the user names the file
}

// locate returns the path of a file below the root, or else below the first import
// directory that has it. A missing file has a path below the root.
func (o Options) locate(name string) string {
	for _, dir := range append([]string{o.Root}, o.Imports...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(o.Root, filepath.FromSlash(name))
}

// path returns the path of a .proto file for messages.
func (o Options) path(name string) string {
	if typed, ok := o.typed(name); ok {
		return typed
	}
	return display(o.locate(name))
}

// output returns the path of a generated file or of its directory.
func (o Options) output(name string) string {
	if o.Out != "" {
		return filepath.Join(o.Out, filepath.FromSlash(name))
	}
	if typed, ok := o.typed(name); ok {
		return typed
	}
	return display(filepath.Join(o.Root, filepath.FromSlash(name)))
}

// layout returns the generators' parameter for the directories of generated code.
func (o Options) layout() string {
	switch {
	case o.Out == "":
		return "paths=source_relative"
	case o.Module == "":
		return "paths=import"
	default:
		return "module=" + o.Module
	}
}

// typed returns the path of a file in the spelling of the user. It returns false if the
// user did not name the directory.
func (o Options) typed(name string) (string, bool) {
	dir, ok := o.Dirs[path.Dir(name)]
	return filepath.Join(dir, path.Base(name)), ok
}

// display returns a relative path in its shortest form relative to the working
// directory. It does not change an absolute path.
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
