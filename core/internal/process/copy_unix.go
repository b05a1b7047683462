//go:build unix

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// copyFile is the name of a copy, by which the sweep knows it.
const copyFile = "plugwire-program"

func copyName(string) string { return copyFile }

func newCopyDir(uid int) (path string, remove func(), err error) {
	dir, err := NewDir(uid)
	if err != nil {
		return "", nil, err
	}
	return dir.Path(), dir.Close, nil
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
