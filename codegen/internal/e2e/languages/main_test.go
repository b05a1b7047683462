//go:build unix

// Package languages_test runs the plugins that plugwire-gen writes in other languages
// than Go, under hosts of ours and on go-plugin.
package languages_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/plugwire/plugwire/codegen/internal/scaffold"
)

// hang is the time after which a waiting test gives up. Nothing is expected to take
// this long.
const hang = 2 * time.Minute

// interop is the directory where .ci/run installs the packages of other languages.
const interop = "../../../../interop"

func TestMain(m *testing.M) {
	if framework := os.Getenv(hostVariable); framework != "" {
		os.Exit(beHost(framework))
	}
	code := m.Run()
	for _, l := range languages {
		if err := l.cleanUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// A language is one in which plugwire-gen writes plugins.
type language struct {
	name     scaffold.Language
	packages string   // directory with the installed packages
	link     string   // name of that directory in a new plugin
	prepare  []string // command in a new plugin, before the plugin can run
	command  []string // the plugin
	test     []string // command that runs the plugin's own tests
	versions []string // command that fails if other versions are installed than the plugin requires

	once sync.Once // guards what follows
	dir  string    // a new plugin
	err  error     // why there is none
}

var (
	python = &language{
		name:     scaffold.Python,
		packages: interop + "/pyvider/.venv",
		link:     ".venv",
		prepare:  []string{".venv/bin/python", "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", "hello.proto"},
		command:  []string{".venv/bin/python", "plugin.py"},
		test:     []string{".venv/bin/python", "-m", "unittest"},
		versions: []string{".venv/bin/python", "-c", `
import importlib.metadata, re
for name, version in re.findall(r"^([\w-]+)==(\S+)", open("requirements.txt").read(), re.M):
    found = importlib.metadata.version(name)
    assert found == version, f"{name} is {found}, not {version}"
`},
	}
	node = &language{
		name:     scaffold.Node,
		packages: interop + "/grpcjs/node_modules",
		link:     "node_modules",
		prepare:  []string{"node", "--version"},
		command:  []string{"node", "plugin.js"},
		test:     []string{"node", "--test", "--test-reporter", "tap"},
		versions: []string{"node", "--input-type", "module", "-e", `
import { readFileSync } from 'node:fs';
const read = (name) => JSON.parse(readFileSync(name));
for (const [name, version] of Object.entries(read('package.json').dependencies)) {
  const found = read('node_modules/' + name + '/package.json').version;
  if (found !== version) {
    throw new Error(name + ' is ' + found + ', not ' + version);
  }
}
`},
	}
	languages = []*language{python, node}
)

// require returns the directory of a new plugin, which all tests share. It skips a test
// if the packages of the language are not on this machine. In CI that is an error.
func (l *language) require(t *testing.T) string {
	t.Helper()
	l.once.Do(func() { l.dir, l.err = l.make() })
	switch {
	case l.err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(l.err)
	default:
		t.Skip(l.err)
	}
	return l.dir
}

// make makes a new plugin.
func (l *language) make() (string, error) {
	packages, err := filepath.Abs(filepath.FromSlash(l.packages))
	if err == nil {
		_, err = os.Stat(packages)
	}
	if err != nil {
		return "", fmt.Errorf("no packages for %s; interop/README.md says how to install them: %w", l.name, err)
	}
	parent, err := os.MkdirTemp("", "languages-")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(parent, "hello")
	err = scaffold.Write(dir, scaffold.Module{Name: "hello", Lang: l.name}, func() error {
		if err := os.Symlink(packages, filepath.Join(dir, l.link)); err != nil {
			return err
		}
		prepare := exec.Command(l.prepare[0], l.prepare[1:]...)
		prepare.Dir = dir
		if out, err := prepare.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", prepare, err, out)
		}
		return nil
	})
	return dir, err
}

func (l *language) cleanUp() error {
	if l.dir == "" {
		return nil
	}
	return os.RemoveAll(filepath.Dir(l.dir))
}

// plugin returns the command that starts the plugin in dir.
func (l *language) plugin(dir string) *exec.Cmd {
	program := l.command[0]
	if filepath.Base(program) != program {
		program = filepath.Join(dir, program)
	}
	return exec.Command(program, filepath.Join(dir, l.command[1]))
}

// testContext returns a context that ends with the test, or when the test hangs.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), hang)
	tb.Cleanup(cancel)
	return ctx
}

// eventually waits until check returns no complaint.
func eventually(tb testing.TB, check func() (complaint string)) {
	tb.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); ; <-poll.C {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("still after %v: %s", hang, complaint)
		}
	}
}

// shortDir returns a directory for sockets, whose paths have a limit of about 100 bytes.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "l-") //nolint:usetesting // that of a test has its name
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}
