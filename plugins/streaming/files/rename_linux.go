package files

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameExclusive renames a file of one directory to a name in another, which
// must not exist. The error is errors.ErrUnsupported if the file system cannot.
func renameExclusive(fromDir int, from string, toDir int, to string) error {
	err := unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // the file system does not know the flag
		return errors.ErrUnsupported
	}
	return err
}
