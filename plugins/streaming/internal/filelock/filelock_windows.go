package filelock

import (
	"errors"

	"golang.org/x/sys/windows"
)

// lock locks a byte that is far behind the end of any file, because a lock on
// Windows denies other processes the locked bytes.
func lock(fd uintptr) error {
	err := windows.LockFileEx(windows.Handle(fd), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}
