//go:build unix

package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lifeline is the plugin's end of the pipe that its host holds. A Read that ends
// means that the host is gone.
type Lifeline struct {
	*os.File
	group int // that the host has made; this process may move to another
}

// OpenLifeline takes the inherited descriptor fd as the lifeline, keeps it from
// the plugin's own children, and turns the parent-death signal off, which would
// not let the plugin remove its socket.
func OpenLifeline(fd int) (*Lifeline, error) {
	// In non-blocking mode, so that a Read does not keep a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("lifeline: descriptor %d: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	unbindFromParent()
	return &Lifeline{File: os.NewFile(uintptr(fd), "lifeline"), group: unix.Getpgrp()}, nil
}

// KillGroup ends the process group that the host has made, whose leader may be a
// script that started this process, and this process. It does not return.
func (l *Lifeline) KillGroup() {
	_ = unix.Kill(-l.group, unix.SIGKILL)
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {}
}
