package e2e_test

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
)

// TestChecksumDescriptors checks that the host keeps no descriptor of the copy
// in memory.
func TestChecksumDescriptors(t *testing.T) {
	t.Parallel()
	path := echoPlugin().Path
	p := launch(t, exec.Command(path), host.WithChecksum(crypto.SHA256, sumOf(t, crypto.SHA256, path)))
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.Info().PID))
	if err != nil || !strings.HasPrefix(exe, "/memfd:plugwire") {
		t.Errorf("the plugin runs %s, %v; want a file in memory", exe, err)
	}
	// Other tests open theirs meanwhile, but close them soon.
	eventually(t, hang, func() string {
		open, err := descriptors(os.Getpid())
		if err != nil {
			return err.Error()
		}
		for fd, name := range open {
			if strings.HasPrefix(name, "/memfd:plugwire") {
				return fmt.Sprintf("descriptor %d is %s", fd, name)
			}
		}
		return ""
	})
}

// TestChecksumWithoutMemory runs on a system that forbids files in memory: the
// copy is a private file, which is removed with the process, or, if the host was
// killed, by the next start.
func TestChecksumWithoutMemory(t *testing.T) {
	t.Parallel()
	if !canForbid {
		t.Skip("the filter that forbids files in memory is written for little-endian machines")
	}
	plugin := lifePlugin(t).Path
	sum := hex.EncodeToString(sumOf(t, crypto.SHA256, plugin))
	start := func(t *testing.T, place *place, mode string) *runningHost {
		t.Helper()
		h := startHostBy(t, place, []string{"forbid", "memfd", filepath.Join(binDir, "life-host")}, "-sha256", sum, mode, plugin)
		h.awaitWord("ready")
		files := place.files()
		i := slices.IndexFunc(files, func(path string) bool { return filepath.Base(path) == "plugwire-program" })
		if i < 0 {
			t.Fatalf("no copy of the plugin in %q", files)
		}
		if info, err := os.Stat(files[i]); err != nil || info.Mode().Perm() != 0o500 {
			t.Errorf("the copy: %v, %v; want mode 0500", info, err)
		}
		if info, err := os.Stat(filepath.Dir(files[i])); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("its directory: %v, %v; want mode 0700", info, err)
		}
		if !slices.ContainsFunc(place.processes(), func(pid int) bool {
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			return exe == files[i]
		}) {
			t.Errorf("no process runs %s", files[i])
		}
		return h
	}
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		place := newPlace(t)
		h := start(t, place, "drain")
		if err := h.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		h.awaitWord("drained")
		eventually(t, goneWithin, place.left)
	})
	t.Run("host killed", func(t *testing.T) {
		t.Parallel()
		place := newPlace(t)
		killHost(t, start(t, place, "hold").cmd)
		eventually(t, goneWithin, place.leftRunning)
		if len(place.files()) == 0 {
			t.Error("the copy is gone already")
		}
		next := startHost(t, place, "drain", plugin)
		next.awaitWord("ready")
		if err := next.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		next.awaitWord("drained")
		eventually(t, goneWithin, place.left)
	})
}
