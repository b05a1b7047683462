//go:build unix

package privdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// useTemp makes a directory the one for temporary files.
func useTemp(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/tmp", "empty-") //nolint:usetesting // every directory above is root's
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

func newTestDir(t *testing.T, user *User) *Dir {
	t.Helper()
	d, err := New(user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // the test checks it
	return d
}

func entriesOf(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestCloseRemovesEverything removes a directory in which a plugin left every kind of
// file: some without the permissions to remove them, and links to files of other
// programs.
func TestCloseRemovesEverything(t *testing.T) {
	base := useTemp(t)
	others := filepath.Join(base, "others")
	if err := errors.Join(os.Mkdir(others, 0o700), os.WriteFile(filepath.Join(others, "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	d := newTestDir(t, nil)
	at := func(names ...string) string { return filepath.Join(append([]string{d.Path()}, names...)...) }
	for _, path := range []string{at("a", "b", "c"), at("a", "d"), at("locked", "inner"), at("new\nline", "x")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{at("file"), at("a", "b", "c", "file"), at("locked", "inner", "file")} {
		if err := os.WriteFile(path, nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Symlink(others, at("link")), os.Symlink(others, at("a", "link")), os.Link(filepath.Join(others, "file"), at("hard")),
		unix.Mkfifo(at("fifo"), 0o600), os.Chmod(at("locked", "inner"), 0), os.Chmod(at("locked"), 0o500), os.Chmod(at(), 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left := entriesOf(t, base); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
	if left := entriesOf(t, others); len(left) != 1 {
		t.Errorf("of the others there is %q", left)
	}
}

// TestCloseIsBounded closes a directory with more files than Close can remove within
// its limit. The next sweep removes the rest.
func TestCloseIsBounded(t *testing.T) {
	base := useTemp(t)
	d := newTestDir(t, nil)
	for i := range 20 {
		if err := os.Mkdir(filepath.Join(d.Path(), strconv.Itoa(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.remove(time.Now()); !errors.Is(err, errTooMuch) || !errors.Is(err, ErrDir) || !strings.Contains(err.Error(), d.Path()) {
		t.Errorf("%v", err)
	}
	if left := entriesOf(t, d.Path()); len(left) == 0 {
		t.Error("all of it is gone")
	}
	sweep(base, look(base), time.Now().Add(time.Minute))
	if left := entriesOf(t, base); len(left) > 0 {
		t.Errorf("after a sweep: %q", left)
	}
}

// deepVariable marks the child process of this test that has few descriptors.
const deepVariable = "PRIVDIR_DEEP"

// TestCloseDeep removes directories that are nested so deep that no path leads to the
// innermost. The process may open fewer files than there are directories.
func TestCloseDeep(t *testing.T) {
	if os.Getenv(deepVariable) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", `ulimit -n 24; exec "$0" "$@"`, self, "-test.run=^TestCloseDeep$", "-test.v")
		cmd.Env = append(os.Environ(), deepVariable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestCloseDeep") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	base := useTemp(t)
	d := newTestDir(t, nil)
	nest(t, d.Path(), 200)
	if err := d.remove(time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if left := entriesOf(t, base); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// nest makes n directories, each in the one before.
func nest(t *testing.T, path string, n int) {
	t.Helper()
	name := strings.Repeat("d", 200)
	at, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; i < n && err == nil; i++ {
		if err = unix.Mkdirat(at, name, 0o700); err != nil {
			break
		}
		var next int
		if next, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(at)
			at = next
		}
	}
	if err = errors.Join(err, unix.Close(at)); err != nil {
		t.Fatal(err)
	}
}

const nobody = 65534

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory to another user")
	}
}

// TestPluginCannotReplaceItsDirectory checks that the plugin's user cannot rename any
// part of the path to the plugin's directory.
func TestPluginCannotReplaceItsDirectory(t *testing.T) {
	requireRoot(t)
	base := useTemp(t)
	if err := os.Chmod(base, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	d := newTestDir(t, &User{UID: nobody, GID: nobody})
	as := func(script string) error {
		cmd := exec.Command("/bin/sh", "-c", script, d.Own(), d.Path(), base)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v %s", script, err, out)
		return err
	}
	if err := as(`mkdir "$1"/own && touch "$1"/own/file`); err != nil {
		t.Error("its own directory is of no use")
	}
	for _, script := range []string{`mv "$1" "$2"/moved`, `mv "$0" "$2"/moved`, `touch "$0"/file`, `rmdir "$1"`, `ls "$0"`} {
		if as(script) == nil {
			t.Errorf("it may: %s", script)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left := entriesOf(t, base); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestSweepStrangers checks that root neither opens nor changes directories that
// another user left.
func TestSweepStrangers(t *testing.T) {
	requireRoot(t)
	base := useTemp(t)
	if err := os.Chmod(base, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o700, 0o700 | fs.ModeSticky, 0o710 | fs.ModeSticky} {
		dir := filepath.Join(base, prefix+fmt.Sprintf("%o", uint32(mode)))
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(filepath.Join(dir, "x"), 0o700), os.Chmod(dir, mode), os.Lchown(dir, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	sweep(base, look(base), time.Now().Add(time.Minute))
	if left := entriesOf(t, base); len(left) != 3 {
		t.Errorf("of three there are %q", left)
	}
}

// TestSweepAnotherUsersPlugin sweeps after the death of root's host whose plugin ran
// as another user.
func TestSweepAnotherUsersPlugin(t *testing.T) {
	requireRoot(t)
	base := useTemp(t)
	if err := os.Chmod(base, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	d := newTestDir(t, &User{UID: nobody, GID: nobody})
	if err := errors.Join(os.WriteFile(filepath.Join(d.Path(), "socket"), nil, 0o600), d.lock.Close()); err != nil {
		t.Fatal(err)
	}
	sweep(base, look(base), time.Now().Add(time.Minute))
	if left := entriesOf(t, base); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestInspect checks paths with links and dots.
func TestInspect(t *testing.T) {
	base := useTemp(t) // its mode is 0700
	at := func(names ...string) string { return filepath.Join(append([]string{base}, names...)...) }
	err := errors.Join(
		os.MkdirAll(at("a", "b"), 0o755), os.WriteFile(at("file"), nil, 0o600),
		os.Symlink("a/../a/./b", at("relative")), os.Symlink(base, at("absolute")),
		os.Symlink("loop", at("loop")), os.Symlink("../../../../../../../..", at("up")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		at("a", "b"): nil, at("relative"): nil, base + "//absolute/./a/": nil,
		at("loop"): unix.ELOOP, at("none"): fs.ErrNotExist, at("file"): unix.ENOTDIR, at("file", "below"): unix.ENOTDIR,
	} {
		closed, err := inspect(path)
		if !errors.Is(err, want) || err == nil && closed != base {
			t.Errorf("%s: closed at %q, %v; want %v", path, closed, err, want)
		}
	}
	if closed, err := inspect(at("up", "tmp")); err != nil || closed != "" {
		t.Errorf("through a link to the root: closed at %q, %v", closed, err)
	}
}
