//go:build unix

package files

import (
	"errors"
	"os"
	"syscall"
)

// nonblock makes the opening of a named pipe return without its other end.
const nonblock = syscall.O_NONBLOCK

// isFull reports whether there is no room for more data: on the disk, in the
// user's quota, or within the system's limit for one file.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// lacksLinks reports whether a link may have been refused because the file system
// has none: EPERM has other reasons too.
func lacksLinks(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported)
}

// syncDir writes the names in a directory to the disk.
func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
