//go:build unix

// Package goplugin_test runs hosts and plugins on released versions of
// hashicorp/go-plugin with ours. Each release is a module of its own, outside of
// the workspace, because in one build there can be one version only. What the
// peers do is in package peer.
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
	"slices"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// linked is what our peer is built from. That it is in the program of the tests too
// lets go test know that a change of it is one of the tests; of a package that is only
// imported the linker leaves nothing.
var linked = []any{
	host.Launch, host.Attach, (*host.Plugin).Shutdown, (*host.Plugin).Broker, (*host.Plugin).Ping,
	plugin.Main, plugin.Broker, broker.Broker.Serve, broker.Broker.Dial, tcp.New, unix.New,
}

// plugwire is the peer that is ours.
const plugwire = "plugwire"

// releases are the modules here, oldest first.
var releases = []string{"v1.0.1", "v1.4.0", "v1.4.10", "v1.5.2", "v1.6.3", "v1.7.0", "v1.8.0"}

// binDir is where the peers are, each by its name; set by TestMain.
var binDir string

func TestMain(m *testing.M) {
	scratch, err := os.MkdirTemp("", "gp-") // short: a socket's path has to fit behind it
	if err == nil {
		err = prepare(scratch)
	}
	code := 1
	if err == nil {
		err = flag.Set("test.parallel", "8") // a cell is waiting for most of its time
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

// prepare builds the peers, one after the other, and has this process and all
// that it starts use a directory of its own for temporary files.
func prepare(scratch string) error {
	binDir = filepath.Join(scratch, "bin")
	tmp := filepath.Join(scratch, "tmp")
	// A plugin of another user has to get at its program and at its socket.
	if err := errors.Join(os.Chmod(scratch, 0o711), os.Mkdir(binDir, 0o755), os.Mkdir(tmp, 0o755), readSources()); err != nil {
		return err
	}
	if err := build(plugwire, "../cmd/plugwire-peer", raceEnabled); err != nil {
		return err
	}
	for _, release := range releases {
		if err := build(release, release, false, "GOWORK=off"); err != nil {
			return err
		}
	}
	// A program with the race detector sleeps for a second before it exits,
	// unless it is told not to.
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

// readSources reads what the peers are built from, and so lets go test know that
// a change of it is one of the tests.
func readSources() error {
	return filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" && !strings.HasPrefix(entry.Name(), "go.") {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	})
}

// TestReleases checks that each peer is linked with the release that it is
// called after.
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
}
