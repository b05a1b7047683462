//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// newCopyPath returns the path for a copy, in a directory in which only this user may
// write.
func newCopyPath(_ string, user *privdir.User) (path string, remove func() error, err error) {
	dir, err := privdir.New(user)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir.Own(), privdir.ProgramFile), dir.Close, nil
}

// shareCopy gives a copy its mode, whatever the umask is. Its owner stays this user:
// an owner can write to a file, whatever its mode is.
func shareCopy(f *os.File, user *privdir.User) error {
	if user == nil {
		return f.Chmod(copyMode)
	}
	return errors.Join(f.Chown(-1, user.GID), f.Chmod(sharedMode))
}

// checkExecutable reports whether the system would execute the file at all.
func checkExecutable(path string) error {
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("private copy of the program: %s cannot be executed (%w): its file system may be mounted noexec, so set XDG_RUNTIME_DIR or TMPDIR of the host to another directory", path, err)
	}
	return nil
}

// OpenProgram opens a file for reading. Of one that would let the caller wait, a
// named pipe, it does not.
func OpenProgram(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // it is the program that the user names
}
