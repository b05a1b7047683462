// Package filelock locks open files between processes. A lock ends when its
// file is closed, and so with the process that has it, however that ends.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked says that somebody else has the lock.
var ErrLocked = errors.New("the file is in use")

// Lock locks an open file, or returns [ErrLocked] at once. It keeps nobody from
// reading or writing the file who does not ask for the lock.
func Lock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) { lockErr = lock(fd) })
	return errors.Join(err, lockErr)
}
