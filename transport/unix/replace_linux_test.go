package unix_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// TestReplacedSocket listens in a directory where another process replaces each new
// socket at once: by a link to a file, or by a second name of the file. The file keeps
// its mode and its group. Only a socket gets new ones.
func TestReplacedSocket(t *testing.T) {
	for name, link := range map[string]func(oldname, newname string) error{"symbolic link": os.Symlink, "hard link": os.Link} {
		for _, group := range []string{"", "12345"} {
			if group != "" && os.Geteuid() != 0 {
				continue // cannot give a file to a group
			}
			t.Run(name+" "+group, func(t *testing.T) {
				dir := shortDir(t)
				victim := filepath.Join(shortDir(t), "victim")
				if err := os.WriteFile(victim, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				stop, attacked := attack(t, dir, victim, link)
				for range 500 {
					ln, err := unix.New().Listen(t.Context(), transport.ListenConfig{Version: 1, Dir: dir, Group: group})
					if err != nil {
						continue // the listener has seen the attack
					}
					if err := ln.Close(); err != nil {
						t.Error(err)
					}
				}
				stop()
				t.Logf("%d of 500 were replaced", attacked.Load())
				info, err := os.Stat(victim)
				if err != nil {
					t.Fatal(err)
				}
				if gid := info.Sys().(*syscall.Stat_t).Gid; info.Mode() != 0o644 || gid != uint32(os.Getegid()) {
					t.Errorf("the file has mode %v and group %d", info.Mode(), gid)
				}
			})
		}
	}
}

// attack replaces sockets in the directory until it is stopped, and counts them.
func attack(t *testing.T, dir, victim string, link func(oldname, newname string) error) (stop func(), attacked *atomic.Int64) {
	t.Helper()
	var stopped atomic.Bool
	done := make(chan struct{})
	attacked = new(atomic.Int64)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		defer f.Close()
		for !stopped.Load() {
			if _, err := f.Seek(0, 0); err != nil {
				return
			}
			names, _ := f.Readdirnames(0)
			for _, name := range names {
				path := filepath.Join(dir, name)
				if strings.HasPrefix(name, "plugin-") && os.Remove(path) == nil && link(victim, path) == nil {
					attacked.Add(1)
				}
			}
		}
	}()
	return func() { stopped.Store(true); <-done }, attacked
}

// TestModeWithUmask checks that a socket's mode does not depend on the umask.
func TestModeWithUmask(t *testing.T) {
	dir := shortDir(t)
	t.Setenv("TMPDIR", shortDir(t))
	for _, umask := range []int{0, 0o177, 0o277, 0o377, 0o777} {
		for _, given := range []string{dir, ""} {
			before := syscall.Umask(umask)
			ln, err := unix.New().Listen(t.Context(), transport.ListenConfig{Version: 1, Dir: given})
			syscall.Umask(before)
			if err != nil {
				t.Errorf("umask %o: %v", umask, err)
				continue
			}
			for path, want := range map[string]os.FileMode{ln.Addr().String(): 0o600, filepath.Dir(ln.Addr().String()): 0o700} {
				if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
					t.Errorf("umask %o: %s has mode %v, %v; want %v", umask, path, info.Mode(), err, want)
				}
			}
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestOwnDirectoryOfAnotherUser checks that Listen makes no directory where another
// user can replace it.
func TestOwnDirectoryOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make the directory of another user")
	}
	dir := shortDir(t)
	if err := os.Chown(dir, 65534, -1); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	ln, err := unix.New().Listen(t.Context(), transport.ListenConfig{Version: 1})
	if err == nil {
		_ = ln.Close()
		t.Fatal("no error")
	}
	for _, want := range []string{"directory for the socket", "TMPDIR=" + dir, "user 65534 owns"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// TestQuotedAddress checks errors whose address has control characters of a
// terminal.
func TestQuotedAddress(t *testing.T) {
	address := filepath.Join(shortDir(t), "a\tb\u202e")
	_, err := unix.New().Dial(t.Context(), transport.DialConfig{Version: 1, Address: address})
	if err == nil || !strings.Contains(err.Error(), `a\tb\u202e"`) || strings.Contains(err.Error(), "\t") {
		t.Errorf("%v", err)
	}
}
