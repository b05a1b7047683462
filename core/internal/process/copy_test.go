//go:build unix

package process

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// runCopy runs a copy and returns what it prints.
func runCopy(t *testing.T, c *Copy, cmd *exec.Cmd) string {
	t.Helper()
	c.Use(cmd)
	out, err := cmd.CombinedOutput()
	c.Started()
	if err != nil {
		t.Errorf("%v: %v", cmd, err)
	}
	return string(out)
}

// TestCopy runs a script from each kind of copy, beside an inherited file.
func TestCopy(t *testing.T) {
	inherited := filepath.Join(t.TempDir(), "inherited")
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", "")
	fill := func(w io.Writer) error {
		_, err := io.WriteString(w, "#!/bin/sh\nread word <&3; echo \"$word $1\"\n")
		return err
	}
	for name, newCopy := range map[string]func(string, *privdir.User, func(io.Writer) error) (*Copy, error){
		"as the system has it": NewCopy, "in a directory": newCopyInDir,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := newCopy("script", nil, fill)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(inherited, []byte("inherited\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(inherited)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd := &exec.Cmd{Path: "/the/original", Args: []string{"script", "argument"}, ExtraFiles: []*os.File{f}}
			if got, want := runCopy(t, c, cmd), "inherited argument\n"; got != want {
				t.Errorf("it prints %q, want %q", got, want)
			}
			if cmd.Args[0] != "script" {
				t.Errorf("Args %q", cmd.Args)
			}
			if c.path != "" {
				if _, err := os.Lstat(c.path); err != nil {
					t.Errorf("while it may run: %v", err)
				}
			}
			c.Close()
			c.Close()
			assertEmpty(t, os.Getenv("TMPDIR"))
		})
	}
}

// TestCopySealed checks that the process that made a copy in memory cannot change it.
func TestCopySealed(t *testing.T) {
	f, err := newMemory()
	if err != nil {
		t.Skipf("this system has no files in memory: %v", err)
	}
	defer f.Close()
	if _, err := f.WriteString("what was verified"); err != nil {
		t.Fatal(err)
	}
	if err := seal(f); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("X"), 0); !errors.Is(err, os.ErrPermission) {
		t.Errorf("write: %v", err)
	}
	if err := f.Truncate(1); !errors.Is(err, os.ErrPermission) {
		t.Errorf("truncate: %v", err)
	}
	if _, err := f.WriteAt([]byte("X"), 100); !errors.Is(err, os.ErrPermission) {
		t.Errorf("grow: %v", err)
	}
}

// TestCopyFails checks that a failed copy leaves nothing behind.
func TestCopyFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", "")
	errFill := errors.New("cannot be read")
	fail := func(io.Writer) error { return errFill }
	for _, newCopy := range []func(string, *privdir.User, func(io.Writer) error) (*Copy, error){NewCopy, newCopyInDir} {
		if c, err := newCopy("script", nil, fail); c != nil || !errors.Is(err, errFill) {
			t.Errorf("%v, %v", c, err)
		}
	}
	assertEmpty(t, os.Getenv("TMPDIR"))
}

// TestCopyNotExecutable checks a file that the system does not execute. The error says so,
// and what to do if the file system is the reason.
func TestCopyNotExecutable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkExecutable(path); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "mounted noexec") {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, copyMode); err != nil {
		t.Fatal(err)
	}
	if err := checkExecutable(path); err != nil {
		t.Error(err)
	}
}

// TestNoCopy runs a command without a copy.
func TestNoCopy(t *testing.T) {
	var c *Copy
	if out := runCopy(t, c, exec.Command("/bin/sh", "-c", "echo original")); !strings.Contains(out, "original") {
		t.Errorf("output %q", out)
	}
	c.Close()
}

func assertEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}
