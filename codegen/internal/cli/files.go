package cli

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plugwire/plugwire/codegen/internal/compile"
	"github.com/plugwire/plugwire/codegen/internal/generate"
)

// sourceFlags adds the flags that say where .proto files are.
func sourceFlags(flags *flag.FlagSet, o *generate.Options) {
	o.Root = moduleRoot()
	flags.Func("root", "root `directory` of the .proto files; by default the directory of the go.mod at or above the working directory", func(dir string) error {
		o.Root = dir
		return checkDir(dir)
	})
	flags.Func("I", "`directory` to search for imports after the root; can be repeated", func(dir string) error {
		o.Imports = append(o.Imports, dir)
		return checkDir(dir)
	})
}

// packageFlag adds the flag that sets the Go package of a file.
func packageFlag(flags *flag.FlagSet, o *generate.Options) {
	flags.Func("M", "`FILE=IMPORTPATH[;NAME]`: set the Go package of a file, instead of its option go_package; FILE is its name in import statements; can be repeated", func(text string) error {
		file, pkg, ok := cutLast(text, "=")
		if !ok || file == "" || pkg == "" {
			return errors.New("want FILE=IMPORTPATH, such as words/words.proto=example.com/module/words")
		}
		if o.Packages == nil {
			o.Packages = make(map[string]string)
		}
		o.Packages[file] = pkg
		return nil
	})
}

// protocolFlag adds the flag that sets the protocol of a file.
func protocolFlag(flags *flag.FlagSet, o *generate.Options) {
	flags.Func("protocol", "`FILE=NAME/VERSION`: set the protocol of all services of a file, instead of the one in the file; FILE is its name in import statements; can be repeated", o.Glue.Add)
}

// cutLast is like strings.Cut, and cuts at the last separator.
func cutLast(text, separator string) (before, after string, ok bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	return err
}

// moduleRoot returns the nearest directory with a go.mod, at or above the working
// directory. Without a go.mod it returns the working directory.
func moduleRoot() string {
	dir := "."
	for range 64 { // no directory is deeper
		if hasModule(dir) {
			return dir
		}
		dir = filepath.Join(dir, "..")
	}
	return "."
}

// findFiles returns the .proto files that the arguments name, as slash-separated paths
// relative to the root. An argument is a file or a directory. findFiles stores in
// o.Dirs how the user spelled each directory.
func findFiles(o *generate.Options, args []string, s streams) ([]string, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	o.Dirs = make(map[string]string)
	var names []string
	for _, arg := range args {
		found, err := walk(arg)
		if err != nil {
			return nil, err
		}
		s.saySkipped(found)
		if len(found.files) == 0 {
			return nil, fmt.Errorf("%s: no .proto file", arg)
		}
		for _, file := range found.files {
			name, err := relative(o.Root, file)
			if err != nil {
				return nil, err
			}
			// The Go code of google/protobuf/*.proto is in protobuf's module. Copies of these
			// files help editors. Generate a copy only if the user names it.
			if compile.IsStandard(name) && file != arg {
				continue
			}
			if _, ok := o.Dirs[path.Dir(name)]; !ok {
				o.Dirs[path.Dir(name)] = filepath.Dir(file)
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: only copies of protobuf's own files: their Go code is in google.golang.org/protobuf", strings.Join(args, ", "))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// relative returns the slash-separated name of a file relative to the root. Other
// files import it by this name.
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
	// Each path may contain a link.
	realBase, baseErr := filepath.EvalSymlinks(base)
	realDir, dirErr := filepath.EvalSymlinks(filepath.Dir(path))
	if baseErr == nil && dirErr == nil {
		if name, ok := below(realBase, filepath.Join(realDir, filepath.Base(path))); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s: not below the root %s: run plugwire-gen in the module of the file, or set the root with -root", path, base)
}

// below returns the slash-separated name of path relative to base, and whether path is
// base or below it.
func below(base, path string) (string, bool) {
	name, err := filepath.Rel(base, path)
	return filepath.ToSlash(name), err == nil && filepath.IsLocal(name)
}

// A finding is the result of a walk.
type finding struct {
	files   []string // .proto files
	modules []string // skipped directories: other modules that have .proto files
}

// walk returns the .proto files at or below path. It skips other modules, hidden
// directories, test data and vendored code.
func walk(path string) (finding, error) {
	info, err := os.Stat(path)
	if err != nil {
		return finding{}, err
	}
	if !info.IsDir() {
		if filepath.Ext(path) != ".proto" {
			return finding{}, errors.New(path + ": want a .proto file or a directory")
		}
		return finding{files: []string{path}}, nil
	}
	var found finding
	start := path + string(filepath.Separator) // if path is a link, this walks its target
	err = filepath.WalkDir(start, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && at != start && skip(entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() && at != start && hasModule(at):
			if hasProto(at) {
				found.modules = append(found.modules, at)
			}
			return filepath.SkipDir
		case !entry.IsDir() && filepath.Ext(at) == ".proto":
			found.files = append(found.files, at)
		}
		return nil
	})
	return found, err
}

// saySkipped names the modules that walk skipped. Users may expect their files.
func (s streams) saySkipped(found finding) {
	for _, dir := range found.modules {
		s.complain("%s: skipped, because it is another module: run plugwire-gen there\n", dir)
	}
}

// hasProto reports whether a module that walk skips has a .proto file.
func hasProto(module string) bool {
	errFound := errors.New("found")
	err := filepath.WalkDir(module, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return filepath.SkipDir // an unreadable directory of a skipped module does not matter
		case entry.IsDir() && at != module && (skip(entry.Name()) || hasModule(at)):
			return filepath.SkipDir
		case !entry.IsDir() && filepath.Ext(at) == ".proto":
			return errFound
		}
		return nil
	})
	return errors.Is(err, errFound)
}

// hasModule reports whether a directory is the root of a module.
func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// skip reports whether walk skips directories of that name.
func skip(dir string) bool {
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") || slices.Contains([]string{"testdata", "node_modules", "vendor"}, dir)
}
