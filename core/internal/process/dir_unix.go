//go:build unix

package process

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// DirSupported says whether this system has private directories.
const DirSupported = true

// lockDir locks the directory itself, so that an empty directory is enough to
// tell whether its host lives. It fails if another process has the lock, or had
// it and removed the directory in the meantime.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0) //nolint:gosec // made or found by NewDir
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = sameFile(f, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeOurs removes the sockets and the copy of a program in an open directory, and nothing else:
// whoever chose the same name for files of his own keeps them. It goes by the
// open directory, not by a path that its owner could point elsewhere meanwhile.
func removeOurs(dir *os.File) {
	entries, _ := dir.ReadDir(maxSweep)
	for _, e := range entries {
		if e.Type() == os.ModeSocket || e.Name() == copyFile && e.Type().IsRegular() {
			_ = unix.Unlinkat(int(dir.Fd()), e.Name(), 0)
		}
	}
}

func sameFile(f *os.File, path string) error {
	held, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(held, there) {
		return fs.ErrNotExist
	}
	return nil
}

// ownedPrivately reports whether this user owns the directory, or is root, who
// makes directories for others, and nobody else can enter it.
func ownedPrivately(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	euid := os.Geteuid()
	return ok && (int(stat.Uid) == euid || euid == 0) && info.Mode().Perm()&0o077 == 0
}
