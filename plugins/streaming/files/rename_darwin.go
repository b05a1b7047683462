package files

import "golang.org/x/sys/unix"

// renameExclusive renames a file of one directory to a name in another, which
// must not exist. The error is errors.ErrUnsupported if the file system cannot.
func renameExclusive(fromDir int, from string, toDir int, to string) error {
	return unix.RenameatxNp(fromDir, from, toDir, to, unix.RENAME_EXCL)
}
