//go:build unix

package privdir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errTooMuch means that a directory is not empty yet.
var errTooMuch = errors.New("it has more files than can be removed within the time limit")

// direntsLen is the size of the buffer for the names in a directory.
const direntsLen = 8 << 10

// empty removes everything in a directory, until the deadline. Another process
// decides how much there is and how deep, so empty holds at most two descriptors
// and does not recurse. It follows no symbolic link and uses no path, so a process
// that changes the directory meanwhile can only affect files of its own.
func empty(dir *os.File, deadline time.Time) error {
	top := int(dir.Fd())
	return each(top, deadline, func(name string) error {
		err := remove(top, name)
		if !isNotEmpty(err) {
			return err
		}
		if err := lift(top, name, deadline); err != nil {
			return err
		}
		return remove(top, name)
	})
}

// lift empties the directory name in top. It moves subdirectories that are not
// empty to top, where the next round of empty finds them.
func lift(top int, name string, deadline time.Time) error {
	fd, err := openDir(top, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // opened for reading
	return each(fd, deadline, func(entry string) error {
		err := remove(fd, entry)
		if !isNotEmpty(err) {
			return err
		}
		lifted := rand.Text()
		err = unix.Renameat(fd, entry, top, lifted)
		if errors.Is(err, unix.EACCES) && allow(fd, entry) {
			err = unix.Renameat(fd, entry, top, lifted)
		}
		return describe("rename", entry, err)
	})
}

// openDir opens the directory name in dir.
func openDir(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if errors.Is(err, unix.EACCES) && allow(dir, name) {
		fd, err = unix.Openat(dir, name, flags, 0)
	}
	if err == nil && os.Geteuid() != 0 {
		_ = unix.Fchmod(fd, pluginMode) // else its files cannot be removed
	}
	return fd, describe("open", name, err)
}

// allow restores this user's permissions on a directory if a plugin of the same user
// removed them. Root needs no permissions, and must not change them: a plugin of
// another user could put a link in the directory's place.
func allow(dir int, name string) bool {
	return os.Geteuid() != 0 && unix.Fchmodat(dir, name, pluginMode, 0) == nil
}

// remove removes a file or an empty directory.
func remove(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) { // macOS returns EPERM for a directory
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return describe("remove", name, err)
}

func isNotEmpty(err error) bool {
	return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)
}

// each calls f with the name of each entry of a directory, again and again until
// there are none. If f succeeded with no entry in a round, each returns the
// error of f.
func each(dir int, deadline time.Time, f func(name string) error) error {
	buf := make([]byte, direntsLen)
	for {
		if _, err := unix.Seek(dir, 0, unix.SEEK_SET); err != nil {
			return err
		}
		found, removed := false, false
		var failed error
		for {
			n, err := unix.ReadDirent(dir, buf)
			if err != nil {
				return fmt.Errorf("read the directory: %w", err)
			}
			if n <= 0 {
				break
			}
			_, _, names := unix.ParseDirent(buf[:n], -1, nil)
			for _, name := range names {
				if time.Now().After(deadline) {
					return errTooMuch
				}
				found = true
				if err := f(name); err == nil {
					removed = true
				} else {
					failed = err
				}
			}
		}
		switch {
		case !found:
			return nil
		case !removed:
			return failed
		case errors.Is(failed, errTooMuch):
			return failed
		}
	}
}

// describe names the entry in an error. It quotes the name, because the other
// side chose it.
func describe(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.64q: %w", op, name, err)
}
