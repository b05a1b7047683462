package targets

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// noCgo is the setting of every target except those with the race detector: the
// project has no C, and with one setting all targets share what they compile.
const noCgo = "CGO_ENABLED=0"

// root is where commands run that concern the workspace as a whole.
var root = place{name: "workspace", dir: ".", env: []string{noCgo}}

// A module is one Go module of this repository. As a place it is the module
// that a developer sees: part of the workspace if go.work lists it.
type module struct {
	place
	file        *modfile.File
	commands    []string // names of its commands: see commandPath
	inWorkspace bool
}

func (m module) path() string { return m.file.Module.Mod.Path }

// alone is the module that a consumer sees: without the workspace.
func (m module) alone() place { return m.with("GOWORK=off") }

// published reports whether the module is released. The root has tools,
// internal modules, those of interoperability tests and the benchmark have no users,
// and examples are only for reading.
func (m module) published() bool {
	parts := strings.Split(filepath.ToSlash(m.dir), "/")
	return !slices.Contains([]string{".", "bench", "examples", "interop"}, parts[0]) && !slices.Contains(parts, "internal")
}

// needsSideCommit reports whether go install would refuse the module as it is
// on main: it has commands, and replaces its siblings.
func (m module) needsSideCommit() bool { return len(m.commands) > 0 && len(m.file.Replace) > 0 }

// modules finds every module of the repository, in the order of their paths.
func modules() ([]module, error) {
	used, err := workspaceDirs()
	if err != nil {
		return nil, err
	}
	files, err := find("go.mod")
	if err != nil {
		return nil, err
	}
	var found []module
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(name, data, nil)
		if err != nil {
			return nil, err
		}
		dir := filepath.Dir(name)
		commands, err := commandsOf(dir)
		if err != nil {
			return nil, err
		}
		m := module{
			place:       place{name: file.Module.Mod.Path, dir: dir, env: []string{noCgo}},
			file:        file,
			commands:    commands,
			inWorkspace: slices.Contains(used, dir),
		}
		if !m.inWorkspace {
			m.place = m.alone()
		}
		found = append(found, m)
	}
	return found, nil
}

// commandsOf returns the names of a module's commands: the directory itself if it is one,
// or else the directories below cmd that are not a module of their own.
func commandsOf(dir string) ([]string, error) {
	if isFile(filepath.Join(dir, "main.go")) {
		return []string{filepath.Base(dir)}, nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "cmd", "*"))
	if err != nil {
		return nil, err
	}
	var commands []string
	for _, command := range found {
		if !isFile(filepath.Join(command, "go.mod")) {
			commands = append(commands, filepath.Base(command))
		}
	}
	return commands, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// commandPath returns the path of a command's package below the module, which begins
// with a slash; it is empty for a module that is a command itself.
func (m module) commandPath(name string) string {
	if isFile(filepath.Join(m.dir, "main.go")) {
		return ""
	}
	return "/cmd/" + name
}

// workspaceDirs returns the directories of the modules that go.work lists.
func workspaceDirs() ([]string, error) {
	data, err := os.ReadFile("go.work")
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork("go.work", data, nil)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, use := range work.Use {
		dirs = append(dirs, filepath.Clean(use.Path))
	}
	return dirs, nil
}

// find returns the files of the repository whose name matches the pattern. It
// leaves out test data, hidden directories, and what npm has installed.
func find(pattern string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (name == "testdata" || name == "node_modules" || name[0] == '.'):
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		default:
			matched, err := filepath.Match(pattern, name)
			if matched {
				found = append(found, path)
			}
			return err
		}
	})
	return found, err
}

// A scope is a set of packages that one go command can name.
type scope struct {
	place
	pattern string
}

// scopes returns the scopes that together have all packages of the repository:
// the workspace, then each module outside of it.
func scopes() ([]scope, error) {
	mods, err := modules()
	if err != nil {
		return nil, err
	}
	found := []scope{{root, "work"}}
	for _, m := range mods {
		if !m.inWorkspace {
			found = append(found, scope{m.place, "./..."})
		}
	}
	return found, nil
}
