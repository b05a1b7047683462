//go:build unix

package transporttest

import (
	"os"
	"syscall"
)

// canInherit tells whether a process can inherit any open file on this system.
const canInherit = true

// inherit returns the file under a new descriptor, as a new process inherits
// it. The caller closes both files.
func inherit(file *os.File) (*os.File, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, dupErr = syscall.Dup(int(old)); dupErr == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("dup", dupErr)
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}
