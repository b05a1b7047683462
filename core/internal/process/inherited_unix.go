//go:build unix

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Inherited takes the descriptor fd, which the host has passed on, and keeps it
// from the plugin's own children.
func Inherited(fd int) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("descriptor %d was not inherited: %w", fd, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("inherited %d", fd)), nil
}
