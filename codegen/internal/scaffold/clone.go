package scaffold

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Modules are the directories of Plugwire's modules that a new module imports.
var Modules = []string{"core", "transport/tcp", "transport/unix"}

// copied is the directory for copies of Plugwire's modules.
const copied = "third_party/plugwire"

// copyModules copies Plugwire's modules from a clone, without the files that only
// their tests need. It writes their checksums into the go.sum in dir, so that the go
// command does not look them up.
func copyModules(dir, clone string) error {
	var sums []string
	for _, module := range Modules {
		from := filepath.Join(clone, filepath.FromSlash(module))
		if err := copyModule(filepath.Join(dir, filepath.FromSlash(copied), filepath.FromSlash(module)), from); err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(from, "go.sum")) //nolint:gosec // below the clone that the user names
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for line := range strings.Lines(string(content)) {
			sums = append(sums, strings.TrimSpace(line)+"\n")
		}
	}
	slices.Sort(sums)
	return os.WriteFile(filepath.Join(dir, "go.sum"), []byte(strings.Join(slices.Compact(sums), "")), 0o644) //nolint:gosec // source files are for everyone to read
}

// copyModule copies the files of a module that importing modules need.
func copyModule(to, from string) error {
	start := from + string(filepath.Separator) // if from is a link, this walks its target
	return filepath.WalkDir(start, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, at)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if at != start && isLeftOut(at, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		isCode := filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go")
		if !isCode && !slices.Contains([]string{"go.mod", "go.sum", "LICENSE"}, name) {
			return nil
		}
		content, err := os.ReadFile(at) //nolint:gosec // below the clone that the user names
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // source files are for everyone to read
			return err
		}
		return os.WriteFile(target, content, 0o644) //nolint:gosec // source files are for everyone to read
	})
}

// isLeftOut reports whether a directory does not belong to the packages of a module.
func isLeftOut(dir, name string) bool {
	if name == "testdata" || name[0] == '.' || name[0] == '_' {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
