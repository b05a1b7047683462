//go:build unix

// Package goplugin_test runs hosts and plugins on released versions of
// hashicorp/go-plugin with ours. Each release is a module of its own, outside of
// the workspace, because one build can have only one version. Package peer has
// the code of the peers.
package goplugin_test

import (
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// linked has the packages that our peer is built from. Because they are linked into
// the tests too, go test runs the tests again after a change of these packages. The
// linker would drop packages that are only imported.
var linked = []any{
	host.Launch, host.Attach, (*host.Plugin).Shutdown, (*host.Plugin).Broker, (*host.Plugin).Ping,
	plugin.Main, plugin.Broker, broker.Broker.Serve, broker.Broker.Dial, tcp.New, unix.New,
}

// plugwire is the name of our own peer, and compat that of the module with go-plugin's API
// on Plugwire: the code of the releases' peers, and one line in go.mod.
const (
	plugwire = "plugwire"
	compat   = "compat"
)

// releases are the names of the modules here, oldest first.
var releases = []string{"v1.0.1", "v1.4.0", "v1.4.10", "v1.5.2", "v1.6.3", "v1.7.0", "v1.8.0"}

// binDir is the directory of the peers, each by its name; set by TestMain.
var binDir string

func TestMain(m *testing.M) {
	scratch, err := os.MkdirTemp("", "gp-") // short, because the path of a socket is limited
	if err == nil {
		err = prepare(scratch)
	}
	code := 1
	if err == nil {
		err = flag.Set("test.parallel", "8") // a cell spends most of its time waiting
	}
	if err == nil {
		runtime.KeepAlive(linked)
		code = m.Run()
		fmt.Print(&summary)
	}
	if err = errors.Join(err, os.RemoveAll(scratch)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// prepare builds the peers, one after the other. It makes a directory for
// temporary files that this process and its children use.
func prepare(scratch string) error {
	binDir = filepath.Join(scratch, "bin")
	tmp := filepath.Join(scratch, "tmp")
	// A plugin of another user must be able to reach its program and its
	// socket.
	if err := errors.Join(os.Chmod(scratch, 0o711), os.Mkdir(binDir, 0o755), os.Mkdir(tmp, 0o755), readSources()); err != nil {
		return err
	}
	if err := build(plugwire, "../cmd/plugwire-peer", raceEnabled); err != nil {
		return err
	}
	if err := build(conformBinary, "../../cmd/plugwire", false); err != nil {
		return err
	}
	for _, release := range append(releases, compat) {
		if err := build(release, release, false, "GOWORK=off"); err != nil {
			return err
		}
	}
	// By default a program with the race detector sleeps for a second before it
	// exits.
	return errors.Join(os.Unsetenv("XDG_RUNTIME_DIR"), os.Setenv("TMPDIR", tmp), os.Setenv("GORACE", "atexit_sleep_ms=0"))
}

func binary(name string) string { return filepath.Join(binDir, name) }

func build(name, dir string, race bool, env ...string) error {
	cmd := exec.Command("go", "build", "-ldflags=-w", "-o", binary(name))
	cgo := "CGO_ENABLED=0"
	if race {
		cmd.Args = append(cmd.Args, "-race")
		cgo = "CGO_ENABLED=1"
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, cgo)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("in %s: %s: %w\n%s", dir, cmd, err, out)
	}
	return nil
}

// readSources reads the sources of the peers, so that go test runs the tests
// again after a change of them.
func readSources() error {
	read := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" && !strings.HasPrefix(entry.Name(), "go.") {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	}
	return errors.Join(filepath.WalkDir("..", read), filepath.WalkDir("../../compat/goplugin", read), filepath.WalkDir("../../cmd/plugwire", read))
}

// TestReleases checks that each peer is linked with the release in its name.
func TestReleases(t *testing.T) {
	if modules, err := filepath.Glob("v*"); err != nil || !slices.Equal(modules, slices.Sorted(slices.Values(releases))) {
		t.Errorf("the modules here are %q, %v; tested are %q", modules, err, releases)
	}
	for _, release := range releases {
		info, err := buildinfo.ReadFile(binary(release))
		if err != nil {
			t.Fatal(err)
		}
		linked := make(map[string]string)
		for _, dep := range info.Deps {
			linked[dep.Path] = dep.Version
			if dep.Replace != nil && dep.Path != "github.com/plugwire/plugwire/interop/peer" {
				t.Errorf("%s: %s is replaced", release, dep.Path)
			}
		}
		if got := linked["github.com/hashicorp/go-plugin"]; got != release {
			t.Errorf("the peer of %s is linked with %q", release, got)
		}
		if linked["github.com/plugwire/plugwire/core"] != "" {
			t.Errorf("the peer of %s is linked with our core", release)
		}
	}
	info, err := buildinfo.ReadFile(binary(compat))
	if err != nil {
		t.Fatal(err)
	}
	replaced := slices.ContainsFunc(info.Deps, func(dep *debug.Module) bool {
		return dep.Path == "github.com/hashicorp/go-plugin" && dep.Replace != nil && strings.HasSuffix(dep.Replace.Path, "compat/goplugin")
	})
	if !replaced {
		t.Errorf("the peer %s is not linked with compat/goplugin in go-plugin's place", compat)
	}
}
