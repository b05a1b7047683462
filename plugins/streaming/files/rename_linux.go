package files

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameExclusive renames a file of one directory to a name in another that must
// not be taken. The error is errors.ErrUnsupported if the file system cannot.
func renameExclusive(fromDir int, from string, toDir int, to string) error {
	err := unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // it does not know the flag
		return errors.ErrUnsupported
	}
	return err
}
