//go:build unix

package privdir_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// tempDir makes a directory for temporary files, in which New makes its own.
// Its path is short enough for sockets.
func tempDir(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/tmp", "dir-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", base)
	return base
}

func newDir(t *testing.T) *privdir.Dir {
	t.Helper()
	dir, err := privdir.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDir(t, dir) })
	return dir
}

func closeDir(t *testing.T, dir *privdir.Dir) {
	t.Helper()
	if err := dir.Close(); err != nil {
		t.Error(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestDirIsPrivate(t *testing.T) {
	base := tempDir(t)
	dir := newDir(t)
	info, err := os.Stat(dir.Path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 || filepath.Dir(dir.Path()) != base {
		t.Errorf("%s with mode %v", dir.Path(), info.Mode())
	}
	if err := os.WriteFile(filepath.Join(dir.Path(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closeDir(t, dir)
	closeDir(t, dir)
	if exists(dir.Path()) {
		t.Error("Close leaves the directory")
	}
}

func TestDirBase(t *testing.T) {
	base := tempDir(t)
	private := filepath.Join(base, "run")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, runtime string
		mode          os.FileMode
		want          string
	}{
		{"private", private, 0o700, private},
		{"open to others", private, 0o755, base},
		{"not there", filepath.Join(base, "none"), 0o700, base},
		{"relative", "run", 0o700, base},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.Chmod(private, tt.mode); err != nil {
				t.Fatal(err)
			}
			t.Setenv("XDG_RUNTIME_DIR", tt.runtime)
			if got := filepath.Dir(newDir(t).Path()); got != tt.want {
				t.Errorf("in %s, want %s", got, tt.want)
			}
		})
	}
}

func TestDirForAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give a directory away")
	}
	base := tempDir(t)
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", base) // the other user cannot enter this directory
	const nobody = 65534
	dir, err := privdir.New(&privdir.User{UID: nobody, GID: nobody})
	if err != nil {
		t.Fatal(err)
	}
	defer closeDir(t, dir)
	for path, want := range map[string]struct {
		uid, gid uint32
		mode     os.FileMode
	}{
		dir.Path(): {nobody, 0, 0o700},
		dir.Own():  {0, nobody, 0o710},
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != want.uid || stat.Gid != want.gid || info.Mode().Perm() != want.mode {
			t.Errorf("%s: user %d, group %d, mode %v; want %v", path, stat.Uid, stat.Gid, info.Mode(), want)
		}
	}
}

// sweep makes a new directory and waits until its sweep is over.
func sweep(t *testing.T) {
	t.Helper()
	dir := newDir(t)
	dir.Look()
	dir.Sweep()
	closeDir(t, dir)
}

// TestSweep checks a sweep beside directories of running hosts, of killed
// hosts, and of other programs.
func TestSweep(t *testing.T) {
	base := tempDir(t)
	mine := newDir(t)
	prefix := strings.TrimRight(filepath.Base(mine.Path()), "0123456789")
	mkdir := func(name string, mode os.FileMode) string {
		path := filepath.Join(base, name)
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	socket := func(dir string) {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "socket")})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dead := mkdir(prefix+"1", 0o700)
	socket(dead)
	if err := os.WriteFile(filepath.Join(dead, "plugwire-program"), nil, 0o500); err != nil { // a copy of a program
		t.Fatal(err)
	}
	empty := mkdir(prefix+"2", 0o700)
	open := mkdir(prefix+"3", 0o755)
	foreign := mkdir("something-else", 0o700)
	precious := mkdir(prefix+"4", 0o700)
	if err := os.WriteFile(filepath.Join(precious, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, prefix+"5")
	if err := os.Symlink(foreign, link); err != nil {
		t.Fatal(err)
	}
	// This directory stands for one of another running process: flock locks
	// belong to the open file.
	locked := mkdir(prefix+"6", 0o700)
	holder := exec.Command("flock", locked, "sh", "-c", "echo held; cat")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	haveFlock := holder.Start() == nil
	if haveFlock {
		if _, err := stdout.Read(make([]byte, len("held"))); err != nil {
			t.Fatal(err)
		}
	}

	sweep(t)

	for path, want := range map[string]bool{
		mine.Path(): true, dead: false, empty: false, open: true, foreign: true, precious: true, link: true, locked: haveFlock,
	} {
		if got := exists(path); got != want {
			t.Errorf("%s is there: %t, want %t", filepath.Base(path), got, want)
		}
	}
	if haveFlock {
		if err := stdin.Close(); err != nil {
			t.Error(err)
		}
		if err := holder.Wait(); err != nil {
			t.Error(err)
		}
		sweep(t)
		if exists(locked) {
			t.Error("the directory of a process that has ended is left")
		}
	}
}

// TestGroupWrites checks that a group may write in the plugin's directory, and not in
// the directory around it.
func TestGroupWrites(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give a file to any group")
	}
	if err := os.Chmod(tempDir(t), 0o755); err != nil {
		t.Fatal(err)
	}
	const group = 54321
	dir, err := privdir.New(&privdir.User{UID: os.Geteuid(), GID: group, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		gid  uint32
		mode os.FileMode
	}{
		dir.Path(): {group, 0o770},
		dir.Own():  {uint32(os.Getegid()), 0o711},
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Gid != want.gid || info.Mode().Perm() != want.mode {
			t.Errorf("%s: group %d, mode %v; want %v", path, stat.Gid, info.Mode(), want)
		}
	}
	closeDir(t, dir)
}
