package process

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Other is a process that another process has started. When it has ended, its number may go
// to a new process. macOS has no handle that prevents that, so each method compares the time
// of the start first. The methods are safe for concurrent use.
type Other struct {
	pid       int
	started   string
	closed    chan struct{}
	closeOnce sync.Once
}

// OpenOther opens the process with the given number.
func OpenOther(pid int) (*Other, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("%d is not the number of a process", pid)
	}
	started, err := StartTime(pid)
	if err != nil {
		return nil, err
	}
	return &Other{pid: pid, started: started, closed: make(chan struct{})}, nil
}

// Started identifies the process among all that have, had or will have its number.
func (o *Other) Started() string { return o.started }

func (o *Other) lives() bool {
	started, err := StartTime(o.pid)
	return err == nil && started == o.started
}

// pollInterval is how often Wait looks, and so how late it can be.
const pollInterval = time.Second

// Wait returns nil when the process has ended, and [os.ErrClosed] after Close.
func (o *Other) Wait() error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for o.lives() {
		select {
		case <-poll.C:
		case <-o.closed:
			return os.ErrClosed
		}
	}
	return nil
}

// Terminate asks the process to end: SIGTERM.
func (o *Other) Terminate() error { return o.signal(unix.SIGTERM) }

// Kill ends the process.
func (o *Other) Kill() error { return o.signal(unix.SIGKILL) }

// signal sends a signal. It returns nil if the process has ended: that was the aim.
func (o *Other) signal(sig unix.Signal) error {
	if !o.lives() {
		return nil
	}
	return kill(o.pid, sig)
}

// Close ends each Wait. It does nothing to the process.
func (o *Other) Close() error {
	o.closeOnce.Do(func() { close(o.closed) })
	return nil
}

// zombie is the state of a process that has ended and was not waited for (SZOMB in
// sys/proc.h).
const zombie = 5

// StartTime returns when a process was started, as a text for comparison only.
func StartTime(pid int) (string, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", fmt.Errorf("process %d: %w", pid, err)
	}
	if int(info.Proc.P_pid) != pid || info.Proc.P_stat == zombie {
		return "", fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec), nil
}
