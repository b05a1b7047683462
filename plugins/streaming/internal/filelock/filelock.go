// Package filelock locks open files between processes. A lock ends when its
// file is closed, and so at the latest with its process.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked means that another process, or another open file, has the lock.
var ErrLocked = errors.New("the file is in use")

// Lock locks an open file, or returns [ErrLocked] at once. A process that does
// not ask for the lock can still read and write the file.
func Lock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) { lockErr = lock(fd) })
	return errors.Join(err, lockErr)
}
