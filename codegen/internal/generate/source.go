package generate

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/plugwire/plugwire/codegen/internal/compile"
)

// Source returns the files that the options name.
func (o Options) Source() compile.Source {
	return compile.Source{
		Open: func(name string) (io.ReadCloser, error) { return open(o.locate(name)) },
		Path: o.path,
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

// path returns what messages call a .proto file.
func (o Options) path(name string) string {
	if typed, ok := o.typed(name); ok {
		return typed
	}
	return display(o.locate(name))
}

// output returns the path of a generated file, or of the directory of some.
func (o Options) output(name string) string {
	if o.Out != "" {
		return filepath.Join(o.Out, filepath.FromSlash(name))
	}
	if typed, ok := o.typed(name); ok {
		return typed
	}
	return display(filepath.Join(o.Root, filepath.FromSlash(name)))
}

// layout returns the parameter that tells generators where code lies.
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

// typed returns the path of a file in a directory that the user named, in the
// user's words.
func (o Options) typed(name string) (string, bool) {
	dir, ok := o.Dirs[path.Dir(name)]
	return filepath.Join(dir, path.Base(name)), ok
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
