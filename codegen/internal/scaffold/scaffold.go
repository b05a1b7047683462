// Package scaffold writes the files of a new plugin: in Go a module with a service, a
// plugin and a host. Begin with [Write]. It does not generate code from the .proto file.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// Version is the release of core and of the transports that a new module requires.
const Version = "v0.1.0"

//go:embed template
var templates embed.FS

// A Module describes a new module, or a plugin in another language than Go.
type Module struct {
	// Name is the name of the directory and of the commands. Without dashes it is also
	// the name of the protocol and of the Go package.
	Name string
	// Lang is the language of the plugin.
	Lang Language
	// Module is the module path. Only Go has one.
	Module string
	// Clone is the directory of a clone of Plugwire. If it is not empty, the new module
	// gets copies of Plugwire's modules. Otherwise it requires their release.
	Clone string
	// Commit is the commit of the clone. It may be empty.
	Commit string
}

// Package returns the name of the module's Go package and protocol.
func (m Module) Package() string { return strings.ReplaceAll(m.Name, "-", "") }

// Proto returns the slash-separated name of the module's .proto file.
func (m Module) Proto() string {
	if m.Lang == Go {
		return m.Package() + "/" + m.Package() + ".proto"
	}
	return m.Package() + ".proto"
}

// maxName is the greatest length of a name. The longest file name in the module is
// NAME_plugwire.pb.go, and file systems allow 255 bytes.
const maxName = 100

var (
	validName = regexp.MustCompile(`^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$`)

	// validModule matches a module path that the go command accepts, and that needs no
	// escapes in a string of Go or of a .proto file.
	validModule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

	// taken are names with another meaning in the module: imported packages, and
	// directories.
	taken = []string{
		"bin", "cmd", "codes", "context", "errors", "exec", "filepath", "flag", "fmt", "handler", "host", "init", "internal", "log",
		"main", "os", "plugin", "plugintest", "runtime", "signal", "status", "tcp", "testing", "testdata", "unix", "vendor",
		// Variables in the code.
		"build", "client", "ctx", "dir", "err", "found", "name", "out", "p", "path", "remove", "request", "response", "run", "self", "stop", "t",
	}

	// takenFiles are names whose .proto file exists in the template of a language.
	takenFiles = map[Language][]string{Node: {"controller", "health"}}

	// takenIn are names with another meaning in one language.
	takenIn = map[Language][]string{
		Python: {"health"},                   // its module health_pb2 would hide that of grpcio-health-checking
		Node:   {"constructor", "prototype"}, // grpc-js leaves out packages with these names
	}
)

// Check returns an error if Write does not accept the module.
func (m Module) Check() error {
	switch {
	case !slices.Contains(Languages, m.Lang):
		return fmt.Errorf("language %q: want %s", m.Lang, languageList())
	case !validName.MatchString(m.Name):
		return fmt.Errorf("name %q: want lower-case letters, digits and single dashes between them, beginning with a letter: it names a directory and the protocol", m.Name)
	case len(m.Name) > maxName:
		return fmt.Errorf("name %q: want at most %d characters", m.Name, maxName)
	case slices.Contains(takenFiles[m.Lang], m.Package()):
		return fmt.Errorf("name %q: the plugin has another file %s: choose another name", m.Name, m.Proto())
	case slices.Contains(takenIn[m.Lang], m.Package()):
		return fmt.Errorf("name %q: %s has another meaning in the code of the plugin: choose another name", m.Name, m.Package())
	case token.IsKeyword(m.Package()) || types.Universe.Lookup(m.Package()) != nil || slices.Contains(taken, m.Package()):
		return fmt.Errorf("name %q: %s has another meaning in the code of the module: choose another name", m.Name, m.Package())
	case m.Lang != Go:
		return nil
	case !validModule.MatchString(m.Module) || m.Module == "go" || m.Module == "toolchain":
		return fmt.Errorf("module path %q: not valid: want a path like example.com/%s", m.Module, m.Name)
	default:
		return nil
	}
}

// Write writes the files below dir, which must be empty or must not exist. Then it
// calls complete, which finishes the module. After an error dir is as it was before.
func Write(dir string, m Module, complete func() error) error {
	if err := m.Check(); err != nil {
		return err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("%s: is not a directory", dir)
	}
	entries, err := os.ReadDir(dir)
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !isNew:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s: directory is not empty", dir)
	}
	err = m.write(dir)
	if err == nil && m.Clone != "" {
		err = copyModules(dir, m.Clone)
	}
	if err == nil {
		err = complete()
	}
	if err != nil {
		return errors.Join(err, undo(dir, isNew))
	}
	return nil
}

// undo removes a new directory, and empties any other.
func undo(dir string, isNew bool) error {
	if isNew {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

// service is the template of the .proto file, in every language.
const service = "template/service.proto.tmpl"

func (m Module) write(dir string) error {
	if err := m.writeFile(dir, m.Proto(), service); err != nil {
		return err
	}
	root := "template/" + string(m.Lang) + "/"
	return fs.WalkDir(templates, path.Clean(root), func(from string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := m.fileName(strings.TrimSuffix(strings.TrimPrefix(from, root), ".tmpl"))
		if strings.HasPrefix(name, copied) && m.Clone == "" {
			return nil
		}
		return m.writeFile(dir, name, from)
	})
}

// writeFile executes a template and writes the file with the slash-separated name
// below dir.
func (m Module) writeFile(dir, name, from string) error {
	content, err := m.render(from)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // source files are for everyone to read
		return err
	}
	return os.WriteFile(to, content, 0o644) //nolint:gosec // source files are for everyone to read
}

// fileName returns the path of a template's file in the module.
func (m Module) fileName(name string) string {
	return strings.NewReplacer(
		"cmd/plugin/", "cmd/"+m.Name+"-plugin/",
		"cmd/host/", "cmd/"+m.Name+"-host/",
		"gitignore", ".gitignore", // go:embed ignores names with a dot
	).Replace(name)
}

// render executes a template. It formats Go code, because the order of imports
// depends on the module's names.
func (m Module) render(from string) ([]byte, error) {
	t, err := template.ParseFS(templates, from)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct{ Name, Package, Module, Clone, Commit, Version string }{m.Name, m.Package(), m.Module, m.Clone, m.Commit, Version})
	if err != nil || !strings.HasSuffix(from, ".go.tmpl") {
		return b.Bytes(), err
	}
	return format.Source(b.Bytes())
}
