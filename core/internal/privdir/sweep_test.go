//go:build unix

package privdir

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestRemoveSocketsGoesByTheLock replaces a locked directory by a link to
// another one. The owner of the directory could do this while root sweeps.
func TestRemoveSocketsGoesByTheLock(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("", "sweep-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	}()
	swept, moved, other := filepath.Join(base, "swept"), filepath.Join(base, "moved"), filepath.Join(base, "other")
	for _, dir := range []string{swept, other} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "socket")})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockDir(swept)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := os.Rename(swept, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, swept); err != nil {
		t.Fatal(err)
	}

	removeOurs(lock)

	if _, err := os.Lstat(filepath.Join(other, "socket")); err != nil {
		t.Errorf("the socket in the other directory: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(moved, "socket")); !os.IsNotExist(err) {
		t.Errorf("the socket in the directory that was locked: %v, want it gone", err)
	}
}
