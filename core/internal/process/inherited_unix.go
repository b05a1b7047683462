//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var errNotInherited = errors.New("it is something of this process's own")

// Inherited takes the descriptor fd, which the host has passed on, and keeps it
// from the plugin's own children. Where a program between the two has closed it,
// the number may be in use for something else: only sockets, pipes and files of
// other processes' making are taken.
func Inherited(fd int) (*os.File, error) {
	var stat unix.Stat_t
	err := unix.Fstat(fd, &stat)
	if err == nil && stat.Mode&unix.S_IFMT == 0 { // as what epoll has
		err = errNotInherited
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("descriptor %d was not inherited: %w", fd, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("inherited %d", fd)), nil
}
