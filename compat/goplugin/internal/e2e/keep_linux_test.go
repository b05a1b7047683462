package plugin_test

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/compat/goplugin"
)

// keepVariable keeps ways of go-plugin.
const keepVariable = "PLUGWIRE_GOPLUGIN_KEEP"

// TestKeepOutlive starts a plugin in the group of its host. TestKilledHost of interop/compat
// shows that it outlives the host.
func TestKeepOutlive(t *testing.T) {
	for _, tt := range []struct {
		keep  string
		group bool
	}{{"", false}, {"outlive", true}} {
		t.Setenv(keepVariable, tt.keep)
		c, d := start(t, config(t, "plain"))
		checkBroker(t, d)
		group, err := syscall.Getpgid(c.ReattachConfig().Pid)
		if err != nil || (group == syscall.Getpgrp()) != tt.group {
			t.Errorf("%q: group %d, %v", tt.keep, group, err)
		}
		_, again := start(t, reattached(t, c.ReattachConfig()))
		check(t, again, "echo:works", "works")
	}
}

func TestKeepStdin(t *testing.T) {
	before := os.Stdin
	t.Cleanup(func() { os.Stdin = before })
	for keep, want := range map[string]string{"": "", "stdin": "the host's"} {
		t.Setenv(keepVariable, keep)
		path := filepath.Join(t.TempDir(), "stdin")
		if err := os.WriteFile(path, []byte("the host's"), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		os.Stdin = file
		_, d := start(t, config(t, "plain"))
		check(t, d, "stdin", want)
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKeepInPlace(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	for keep, inPlace := range map[string]bool{"": false, "inplace": true} {
		t.Setenv(keepVariable, keep)
		cfg := config(t, "plain")
		cfg.SecureConfig = &plugin.SecureConfig{Checksum: sum[:], Hash: sha256.New()}
		_, d := start(t, cfg)
		if path, err := do(d, "program"); err != nil || (path == self) != inPlace {
			t.Errorf("%q: it runs as %q, %v", keep, path, err)
		}
	}
}

// TestKeepAnyUser starts a plugin that becomes another user.
func TestKeepAnyUser(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("this needs root and setpriv")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // one that another user can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "program")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(program, text, 0o755) // another user runs it
	}
	if err == nil {
		err = os.Chmod(dir, 0o777|os.ModeSticky) // another user makes its socket there
	}
	if err != nil {
		t.Fatal(err)
	}
	for keep, works := range map[string]bool{"": false, "anyuser": true} {
		t.Setenv(keepVariable, keep)
		cfg := config(t, "plain")
		env := append(cfg.Cmd.Env, "TMPDIR="+dir)
		cfg.Cmd = exec.Command(setpriv, "--reuid", strconv.Itoa(nobody), "--clear-groups", program)
		cfg.Cmd.Env = env
		c := plugin.NewClient(cfg)
		t.Cleanup(c.Kill)
		_, err := c.Client()
		if (err == nil) != works {
			t.Errorf("%q: %v", keep, err)
		}
		if works {
			check(t, dispense(t, c), "echo:works", "works")
		}
	}
}

// TestKeepGrace kills a plugin that does not end: TestDefects of interop/compat measures it.
func TestKeepGrace(t *testing.T) {
	t.Setenv(keepVariable, "grace, hostenv")
	c, d := start(t, config(t, "plain"))
	check(t, d, "echo:works", "works")
	if kept, err := do(d, "env:"+keepVariable); err != nil || !strings.Contains(kept, "grace") {
		t.Errorf("the plugin is told %q, %v", kept, err)
	}
	c.Kill()
}
