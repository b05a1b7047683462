package files

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// nonblock is 0 on Windows: no name below a root can be that of a pipe.
const nonblock = 0

// isFull reports whether there is no room for more data on the disk or in the
// user's quota.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// lacksLinks reports whether a link was refused because the file system has none.
func lacksLinks(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, errors.ErrUnsupported)
}

// syncDir does nothing: Windows has no way to write the names in a directory
// to the disk, and its file systems keep a journal of them.
func syncDir(*os.Root, string) error { return nil }
