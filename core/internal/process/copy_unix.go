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

// newCopyPath returns the path for a copy, in a directory that only this user can write to.
func newCopyPath(_ string, user *privdir.User) (path string, remove func() error, err error) {
	dir, err := privdir.New(user)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir.Own(), privdir.ProgramFile), dir.Close, nil
}

// shareCopy gives a copy its mode, whatever the umask is. This user stays the owner, since an
// owner can make any file writable.
func shareCopy(f *os.File, user *privdir.User) error {
	if user == nil {
		return f.Chmod(copyMode)
	}
	return errors.Join(f.Chown(-1, user.GID), f.Chmod(sharedMode))
}

// checkExecutable returns an error if the system cannot execute the file.
func checkExecutable(path string) error {
	if err := unix.Access(path, unix.X_OK); err != nil {
		return fmt.Errorf("private copy of the program: %s cannot be executed (%w): its file system may be mounted noexec, so set XDG_RUNTIME_DIR or TMPDIR of the host to another directory", path, err)
	}
	return nil
}

// OpenProgram opens a file for reading. It does not block if the file is a named pipe.
func OpenProgram(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // it is the program that the user names
}
