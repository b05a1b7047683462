//go:build unix

package process

import (
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

// OpenProgram opens a file for reading. Of one that would let the caller wait, a
// named pipe, it does not.
func OpenProgram(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // it is the program that the user names
}
