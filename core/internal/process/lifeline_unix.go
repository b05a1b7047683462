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

// KillGroup ends the process group that this process is in, which is the one
// that its host has made: only a process with a lifeline may call it. The leader
// may be a script that started this process. It does not return.
func KillGroup() {
	_ = unix.Kill(0, unix.SIGKILL)
	select {}
}
