package api

import (
	"bytes"
	"fmt"
	"go/importer"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// listed reports whether a module's API is a promise. Samples, examples, tests and tools
// make none.
func listed(module string) bool {
	switch parts := strings.Split(module, "/"); parts[0] {
	case ".", "bench", "plugins", "examples", "interop":
		return false
	default:
		return !slices.Contains(parts, "internal")
	}
}

// modules returns the directories of the listed modules.
func modules(root string) ([]string, error) {
	name := filepath.Join(root, "go.work")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork(name, data, nil)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, use := range work.Use {
		if dir := filepath.ToSlash(filepath.Clean(use.Path)); listed(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// list returns the lines of each listed module that exports anything.
func list(root string) (map[string][]string, error) {
	dirs, err := modules(root)
	if err != nil {
		return nil, err
	}
	patterns := make([]string, len(dirs))
	for i, dir := range dirs {
		patterns[i] = "./" + dir + "/..."
	}
	exports, packages, err := build(root, patterns)
	if err != nil {
		return nil, err
	}
	load := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		name, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(name)
	})
	lines := make(map[string][]string)
	for _, p := range packages {
		pkg, err := load.Import(p.path)
		if err != nil {
			return nil, err
		}
		lines[p.module] = append(lines[p.module], describe(pkg)...)
	}
	for _, l := range lines {
		slices.Sort(l)
	}
	return lines, nil
}

// goPackage is a public package.
type goPackage struct {
	path   string
	module string // its directory
}

// build compiles packages and all that they import. It returns the files with what each
// exports, by import path, and the public packages among those of the patterns. The
// platform is always the same, so that the list does not depend on the machine.
func build(root string, patterns []string) (exports map[string]string, packages []goPackage, err error) {
	const format = "{{.ImportPath}}\t{{.Export}}\t{{.Name}}\t{{if not .DepOnly}}{{with .Module}}{{.Dir}}{{end}}{{end}}"
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", format}, patterns...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w\n%s", cmd, err, &stderr)
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, nil, err
	}
	exports = make(map[string]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		path, name, dir := fields[0], fields[2], fields[3]
		exports[path] = fields[1]
		if dir == "" || name == "main" || slices.Contains(strings.Split(path, "/"), "internal") {
			continue
		}
		module, err := filepath.Rel(abs, dir)
		if err != nil {
			return nil, nil, err
		}
		packages = append(packages, goPackage{path, filepath.ToSlash(module)})
	}
	return exports, packages, nil
}
