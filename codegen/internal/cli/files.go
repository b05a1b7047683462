package cli

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/codegen/internal/generate"
)

// sourceFlags adds the flags that say where .proto files are.
func sourceFlags(flags *flag.FlagSet, o *generate.Options) {
	o.Root = moduleRoot()
	flags.Func("root", "root `directory` of the .proto files; by default that of the go.mod at or above the working directory", func(dir string) error {
		o.Root = dir
		return checkDir(dir)
	})
	flags.Func("I", "`directory` in which to look for imports, after the root; can be repeated", func(dir string) error {
		o.Imports = append(o.Imports, dir)
		return checkDir(dir)
	})
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	return err
}

// moduleRoot returns the nearest directory above the working one, or this
// itself, that has a go.mod; without one, the working directory.
func moduleRoot() string {
	dir := "."
	for range 64 { // deeper than any path
		if hasModule(dir) {
			return dir
		}
		dir = filepath.Join(dir, "..")
	}
	return "."
}

// findFiles returns the .proto files that the arguments name, each of which is
// a file or a directory, as slash-separated paths relative to the root.
func findFiles(root string, args []string) ([]string, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	var names []string
	for _, arg := range args {
		paths, err := walk(arg)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("%s: no .proto file there", arg)
		}
		for _, path := range paths {
			name, err := relative(root, path)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// relative returns the name by which other files import the file.
func relative(root, path string) (string, error) {
	base, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if name, ok := below(base, path); ok {
		return name, nil
	}
	// One of the two may be named through a link.
	realBase, baseErr := filepath.EvalSymlinks(base)
	realDir, dirErr := filepath.EvalSymlinks(filepath.Dir(path))
	if baseErr == nil && dirErr == nil {
		if name, ok := below(realBase, filepath.Join(realDir, filepath.Base(path))); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s: lies outside of %s, the root: work in the module that it belongs to, or name its root with -root", path, base)
}

// below returns the slash-separated name of what lies in a directory, or is it.
func below(base, path string) (string, bool) {
	name, err := filepath.Rel(base, path)
	return filepath.ToSlash(name), err == nil && filepath.IsLocal(name)
}

// walk returns the .proto files at or below path. It leaves out other modules,
// hidden directories and those that hold test data or the code of others.
func walk(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if filepath.Ext(path) != ".proto" {
			return nil, errors.New(path + ": want a .proto file or a directory")
		}
		return []string{path}, nil
	}
	var found []string
	start := path + string(filepath.Separator) // where path is a link, what it leads to
	err = filepath.WalkDir(start, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && at != start && (skip(entry.Name()) || hasModule(at)):
			return filepath.SkipDir
		case !entry.IsDir() && filepath.Ext(at) == ".proto":
			found = append(found, at)
		}
		return nil
	})
	return found, err
}

// hasModule reports whether a directory is the root of a module.
func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func skip(dir string) bool {
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || slices.Contains([]string{"testdata", "node_modules", "vendor"}, dir)
}
