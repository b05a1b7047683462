package e2e_test

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// hostIn runs a host in an environment of its own, and returns its output.
func hostIn(tb testing.TB, by, env []string, attr *syscall.SysProcAttr, args ...string) (string, error) {
	tb.Helper()
	plugin := lifePlugin(tb).Path
	words := append(append(by, filepath.Join(binDir, "life-host")), args...)
	words = append(words, "once", plugin)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func asUser(uid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

// sharedDir makes a directory with the mode and the owner, below one that every user
// can enter.
func sharedDir(t *testing.T, uid int, mode fs.FileMode) string {
	t.Helper()
	base, err := os.MkdirTemp("/tmp", "s-") //nolint:usetesting // every directory above is root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(base, "d")
	if err := errors.Join(os.Chmod(base, 0o755), os.Mkdir(dir, 0o700), os.Lchown(dir, uid, uid), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make the directory of another user, or run a process as one")
	}
}

// TestDirectoryOfAnotherUser runs hosts whose TMPDIR another user can replace: as
// root, and as a user.
func TestDirectoryOfAnotherUser(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	const another = 65533
	below := func(t *testing.T, uid int, mode fs.FileMode) string {
		t.Helper()
		dir := filepath.Join(sharedDir(t, uid, mode), "below")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777|fs.ModeSticky)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	linked := func(t *testing.T, uid int) string {
		t.Helper()
		link := filepath.Join(sharedDir(t, 0, 0o777|fs.ModeSticky), "link")
		if err := errors.Join(os.Symlink(sharedDir(t, 0, 0o777|fs.ModeSticky), link), os.Lchown(link, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return link
	}
	for _, tt := range []struct {
		name string
		dir  func(t *testing.T) string
		user uint32
		says string // "" if the host may use it
	}{
		{"another user's", func(t *testing.T) string { t.Helper(); return sharedDir(t, nobody, 0o755) }, 0, "user 65534 owns"},
		{"another user's, private", func(t *testing.T) string { t.Helper(); return sharedDir(t, nobody, 0o700) }, 0, "user 65534 owns"},
		{"another user's, sticky", func(t *testing.T) string { t.Helper(); return sharedDir(t, nobody, 0o777|fs.ModeSticky) }, 0, "user 65534 owns"},
		{"below another user's", func(t *testing.T) string { t.Helper(); return below(t, nobody, 0o755) }, 0, "user 65534 owns"},
		{"every user may write", func(t *testing.T) string { t.Helper(); return sharedDir(t, 0, 0o777) }, 0, "chmod +t"},
		{"a group may write", func(t *testing.T) string { t.Helper(); return sharedDir(t, 0, 0o775) }, 0, "chmod go-w"},
		{"below one where every user may write", func(t *testing.T) string { t.Helper(); return below(t, 0, 0o777) }, 0, "chmod +t"},
		{"another user's link", func(t *testing.T) string { t.Helper(); return linked(t, nobody) }, 0, "user 65534 owns"},
		{"sticky", func(t *testing.T) string { t.Helper(); return sharedDir(t, 0, 0o777|fs.ModeSticky) }, 0, ""},
		{"root's link", func(t *testing.T) string { t.Helper(); return linked(t, 0) }, 0, ""},
		{"below a private one", func(t *testing.T) string { t.Helper(); return below(t, 0, 0o700) }, 0, ""},
		{"another user's, for a user", func(t *testing.T) string { t.Helper(); return sharedDir(t, another, 0o777|fs.ModeSticky) }, nobody, "user 65533 owns"},
		{"every user may write, for a user", func(t *testing.T) string { t.Helper(); return sharedDir(t, 0, 0o777) }, nobody, "chmod +t"},
		{"root's, for a user", func(t *testing.T) string { t.Helper(); return sharedDir(t, 0, 0o777|fs.ModeSticky) }, nobody, ""},
		{"the user's own", func(t *testing.T) string { t.Helper(); return sharedDir(t, nobody, 0o700) }, nobody, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := tt.dir(t)
			out, err := hostIn(t, nil, []string{"XDG_RUNTIME_DIR=", "TMPDIR=" + dir}, asUser(tt.user))
			if (err != nil) != (tt.says != "") {
				t.Errorf("%v\n%s", err, out)
			}
			if tt.says != "" {
				assertSays(t, out, "private directory: ", "TMPDIR="+dir, tt.says, "set XDG_RUNTIME_DIR or TMPDIR of the host")
			}
			if left := entries(t, dir); len(left) > 0 {
				t.Errorf("left in it: %v", left)
			}
		})
	}
}

// TestRuntimeDirectoryOfAnotherUser runs a host like after "su": XDG_RUNTIME_DIR
// belongs to another user, and so is not used.
func TestRuntimeDirectoryOfAnotherUser(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	theirs, tmp := sharedDir(t, nobody, 0o700), sharedDir(t, 0, 0o777|fs.ModeSticky)
	longAgo := time.Unix(1e9, 0)
	if err := os.Chtimes(theirs, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	if out, err := hostIn(t, nil, []string{"XDG_RUNTIME_DIR=" + theirs, "TMPDIR=" + tmp}, nil); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if info, err := os.Stat(theirs); err != nil || !info.ModTime().Equal(longAgo) {
		t.Errorf("something was made in the other user's directory: %v, %v", info.ModTime(), err)
	}
}

// TestCopyInDirectoryOfAnotherUser runs a host that can keep the verified copy of a
// program neither in memory nor in a directory that only its user can change.
func TestCopyInDirectoryOfAnotherUser(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	if !canForbid {
		t.Skip("the filter that forbids files in memory is written for little-endian machines")
	}
	sum := hex.EncodeToString(sumOf(t, crypto.SHA256, lifePlugin(t).Path))
	by := []string{command("forbid").Path, "memfd"}
	out, err := hostIn(t, by, []string{"XDG_RUNTIME_DIR=", "TMPDIR=" + sharedDir(t, nobody, 0o755)}, nil, "-sha256", sum)
	if err == nil {
		t.Error("the copy was run")
	}
	assertSays(t, out, "user 65534 owns", "set XDG_RUNTIME_DIR or TMPDIR of the host")
}

// TestUmask runs a host and its plugin with umasks that remove permissions of the
// owner: as root, which needs no permissions, and as a user. The copy of a program is
// a file too.
func TestUmask(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	sum := hex.EncodeToString(sumOf(t, crypto.SHA256, lifePlugin(t).Path))
	peer := command("goplugin-peer").Path
	for _, umask := range []string{"000", "0177", "0277", "0377", "0777"} {
		t.Run(umask, func(t *testing.T) {
			t.Parallel()
			by := []string{"/bin/sh", "-c", "umask " + umask + `; exec "$0" "$@"`}
			for _, user := range []uint32{0, nobody} {
				dir := sharedDir(t, int(user), 0o700)
				env := []string{"XDG_RUNTIME_DIR=", "TMPDIR=" + dir}
				if out, err := hostIn(t, by, env, asUser(user)); err != nil {
					t.Errorf("user %d: %v\n%s", user, err, out)
				}
				if canForbid {
					if out, err := hostIn(t, append(by, command("forbid").Path, "memfd"), env, asUser(user), "-sha256", sum); err != nil {
						t.Errorf("user %d, with a copy in a file: %v\n%s", user, err, out)
					}
				}
				cmd := exec.Command(by[0], append(by[1:], peer, "host", echoPlugin().Path)...)
				cmd.Env = append(os.Environ(), env...)
				cmd.SysProcAttr = asUser(user)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("user %d, with a host on go-plugin: %v\n%s", user, err, out)
				}
				if left := entries(t, dir); len(left) > 0 {
					t.Errorf("user %d: left: %v", user, left)
				}
			}
		})
	}
}

// TestNamesOfDirectories uses a TMPDIR with characters of all kinds, for hosts
// and plugins of both frameworks.
func TestNamesOfDirectories(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"with two blanks", " first", "last ", "\u00fcml\u00e4ut", "u\u0308", "\u65e5\u672c\u8a9e", "\U0001f600", "latin-\xfc", "quotes'\"`", "tab\there",
		"$HOME;&<>(){}*?[a]!#~", "back\\slash", "percent%41%", "-option", "a=b,c:d", "\u202eright", "dots...",
	} {
		t.Run(strings.ToValidUTF8(name, "?"), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(newPlace(t).dir, name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := command("goplugin-peer", "both")
			cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR=", "TMPDIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestNamesThatCannotBeSent uses a TMPDIR that no answer can hold: the error says
// so before a process starts.
func TestNamesThatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a|b", "a\nb", "a\x1b[2Jb"} {
		dir := filepath.Join(newPlace(t).dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := hostIn(t, nil, []string{"XDG_RUNTIME_DIR=", "TMPDIR=" + dir}, nil)
		if err == nil {
			t.Errorf("%q: no error", name)
		}
		assertSays(t, out, "(prepare", "private directory: ", "no control character and no '|' can be sent", "set XDG_RUNTIME_DIR or TMPDIR of the host")
		if left := entries(t, dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// TestRelativeDirectory uses a relative TMPDIR, a plugin with a working directory of
// its own, and a host that changes its working directory while the plugin runs.
func TestRelativeDirectory(t *testing.T) {
	// The test is not parallel, because it changes the environment and the
	// working directory.
	base := newPlace(t).dir
	for _, dir := range []string{"tmp", "plugin/tmp", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", "tmp")
	commands := map[string]*exec.Cmd{
		"ours": echoPlugin(), "on go-plugin": onGoPlugin(),
		// This is like a host that passes no directory for sockets.
		"on old go-plugin":        exec.Command("/bin/sh", "-c", `unset PLUGIN_UNIX_SOCKET_DIR; exec "$0" "$@"`, onGoPlugin().Path, "serve"),
		"ours for a foreign host": exec.Command("/bin/sh", "-c", `unset PLUGIN_UNIX_SOCKET_DIR PLUGWIRE_OFFER; exec "$0"`, echoPlugin().Path),
	}
	for name, cmd := range commands {
		t.Run(name, func(t *testing.T) {
			t.Chdir(base)
			cmd.Dir = filepath.Join(base, "plugin")
			p := launch(t, cmd)
			t.Chdir(filepath.Join(base, "elsewhere"))
			assertEcho(t, p)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			for _, dir := range []string{"tmp", "plugin/tmp"} {
				if left := entries(t, filepath.Join(base, dir)); len(left) > 0 {
					t.Errorf("left in %s: %v", dir, left)
				}
			}
		})
	}
}

// TestNoWritableDirectory runs a host that cannot write anywhere: only the transport
// unix needs that.
func TestNoWritableDirectory(t *testing.T) {
	// The test is not parallel, because it changes the environment.
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", "/proc") // even root cannot make files there
	for _, names := range [][]string{{"tcp"}, {"quic"}, {"quic", "tcp"}, {"unix", "tcp"}, {"unix", "quic"}} {
		t.Run(strings.Join(names, ","), func(t *testing.T) {
			var offered []host.Option
			offered = append(offered, host.WithTransports(ways.Parse(names)...), host.WithProtocols(matrix.Protocol))
			p := launch(t, command("matrix-plugin"), offered...)
			if err := p.Ping(testContext(t)); err != nil {
				t.Error(err)
			}
			info := p.Info()
			if names[0] != "unix" {
				if info.Skipped != "" || info.Transport.Name != names[0] {
					t.Errorf("%s, skipped %q", info.Transport, info.Skipped)
				}
				return
			}
			if info.Transport.Name != names[1] {
				t.Errorf("transport %s", info.Transport)
			}
			assertSays(t, info.Skipped, "unix: private directory: TMPDIR=/proc", "/proc")
		})
	}
	// For a plugin that has only unix, the error says why unix was not offered.
	tmp := sharedDir(t, os.Geteuid(), 0o700)
	for name, cmd := range map[string]*exec.Cmd{"ours": echoPlugin(), "on go-plugin": onGoPlugin(), "a script": shell("echo '1|1|unix|/tmp/x|grpc'" + asleep)} {
		t.Run(name, func(t *testing.T) {
			if name == "on go-plugin" {
				cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			}
			e := startError(testContext(t), t, cmd, host.WithTransports(ways.Parse([]string{"unix", "tcp"})...))
			assertSays(t, e.Error(), "private directory: ", "/proc", "set XDG_RUNTIME_DIR or TMPDIR of the host")
		})
	}
}

// TestDiagnoseOtherUser starts programs that the plugin's user cannot run, and runs as
// a user that cannot start programs as another user. The hint names what is missing.
func TestDiagnoseOtherUser(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	closed := sharedDir(t, 0, 0o700)
	open := sharedDir(t, 0, 0o755)
	for _, dir := range []string{closed, open} {
		if err := errors.Join(os.Symlink("/bin/true", filepath.Join(dir, "plugin")), os.Mkdir(filepath.Join(dir, "work"), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		cmd  *exec.Cmd
		says string
	}{
		"program":           {exec.Command(filepath.Join(closed, "plugin")), "the plugin would run as user 65534, which cannot enter " + closed},
		"working directory": {&exec.Cmd{Path: filepath.Join(open, "plugin"), Dir: filepath.Join(closed, "work")}, "cannot enter " + closed + ", which is on the way to the working directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cmd.SysProcAttr = asUser(nobody)
			e := startError(testContext(t), t, tt.cmd)
			assertSays(t, e.Error(), "permission denied", tt.says)
		})
	}
	t.Run("chroot", func(t *testing.T) {
		t.Parallel()
		cmd := echoPlugin()
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: open}
		e := startError(testContext(t), t, cmd)
		assertSays(t, e.Error(), "must be below "+open)
	})
	t.Run("as another", func(t *testing.T) {
		t.Parallel()
		out, err := hostIn(t, nil, []string{"XDG_RUNTIME_DIR=", "TMPDIR=/tmp"}, asUser(65533), "-nobody")
		if err == nil {
			t.Error("it has started")
		}
		assertSays(t, out, "only root may give a directory to the user", "SysProcAttr.Credential", "this process runs as user 65533")
	})
}

// TestLeftInDirectory leaves a file in the plugin's directory that cannot be removed:
// the stop succeeds and logs that, and a later start removes the file.
func TestLeftInDirectory(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, slog.LevelWarn)
	var dir string
	start := func() *host.Plugin {
		trace := &host.Trace{ProcessStart: func(e host.ProcessStartEvent) { dir = e.PrivateDir }}
		p, err := host.Launch(testContext(t), echoPlugin(), options(t, host.WithTrace(trace), host.WithLogger(logger))...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := start()
	left := filepath.Join(dir, "mounted")
	err := os.Mkdir(left, 0o700)
	if err == nil {
		err = syscall.Mount("plugwire-test", left, "tmpfs", 0, "")
	}
	if err != nil {
		_ = p.Close()
		t.Skipf("what cannot be removed is a mounted file system, and this process may mount none: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(left, 0) }) // if the test fails
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	record := book.await(t, "what the plugin left could not be removed, so a later start removes it")
	assertSays(t, fmt.Sprint(record.Attrs["error"]), dir, `"mounted"`)
	if err := syscall.Unmount(left, 0); err != nil {
		t.Fatal(err)
	}
	// The sweep of another test may be first.
	dirBefore := dir
	if err := start().Close(); err != nil {
		t.Error(err)
	}
	eventually(t, hang, func() string {
		if _, err := os.Lstat(dirBefore); errors.Is(err, fs.ErrNotExist) {
			return ""
		}
		return dirBefore + " is left"
	})
}

// TestPluginNamesARootSocket starts a plugin of another user that names a socket which
// only root can reach: the host does not connect to it.
func TestPluginNamesARootSocket(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	path := filepath.Join(sharedDir(t, 0, 0o700), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan int, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			received <- 0
			return
		}
		defer conn.Close()
		n, _ := conn.Read(make([]byte, 1)) // the process ends as it should
		received <- n
	}()
	cmd := shell("echo '1|1|unix|" + path + "|grpc'" + asleep)
	cmd.SysProcAttr = asUser(nobody)
	e := startError(testContext(t), t, cmd)
	assertSays(t, e.Error(), "peer credentials: the peer runs as user 0, expected [65534]")
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if n := <-received; n > 0 {
		t.Error("the host has said something")
	}
}
