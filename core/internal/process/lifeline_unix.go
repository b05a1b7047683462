//go:build unix

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenLifeline takes the inherited descriptor fd as the plugin's end of the
// lifeline, keeps it from the plugin's own children, and turns the parent-death
// signal off, which would not let the plugin remove its socket. A Read that ends
// means that the host is gone.
func OpenLifeline(fd int) (*os.File, error) {
	// In non-blocking mode, so that a Read does not keep a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("lifeline: descriptor %d: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	unbindFromParent()
	return os.NewFile(uintptr(fd), "lifeline"), nil
}

// KillGroup ends this process and, if it leads its group, the whole of it. It
// does not return.
func KillGroup() {
	pid := os.Getpid()
	if unix.Getpgrp() == pid {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	select {}
}
