package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Other is a process that another process has started. When it has ended, its number may go
// to a new process. Other never waits for that process, nor sends it a signal. The methods
// are safe for concurrent use.
type Other struct {
	pidfd   *os.File
	started string
}

// OpenOther opens the process with the given number.
func OpenOther(pid int) (*Other, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("%d is not the number of a process", pid)
	}
	o, err := openPidfd(pid)
	if err != nil {
		return nil, err
	}
	o.started, _ = StartTime(pid) // some systems hide other users' processes
	ended := true
	if err := o.control(func(fd int) { ended = hasEnded(fd) }); err != nil || ended { // what was read may belong to a later process
		return nil, errors.Join(fmt.Errorf("process %d: %w", pid, unix.ESRCH), err, o.Close())
	}
	return o, nil
}

// openPidfd opens a process, which may have ended.
func openPidfd(pid int) (*Other, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that Wait can be ended
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &Other{pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// control calls f with the descriptor, and keeps the descriptor open meanwhile.
func (o *Other) control(f func(fd int)) error {
	raw, err := o.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// hasEnded reports whether the process of a pidfd has ended, reaped or not.
func hasEnded(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small numbers
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

// Started identifies the process among all that have, had or will have its number (see
// [StartTime]). It is empty if the system does not show it.
func (o *Other) Started() string { return o.started }

// Wait returns nil when the process has ended. It returns an error if it cannot wait, for
// example after Close.
func (o *Other) Wait() error {
	raw, err := o.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool { return hasEnded(int(fd)) })
}

// reap takes the status of the process, a child of this one. It reports false if the
// process has not ended.
func (o *Other) reap() bool {
	var info unix.Siginfo
	var waited error
	err := o.control(func(fd int) { waited = unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG, nil) })
	return err != nil || waited != nil || info.Signo != 0
}

// Terminate asks the process to end: SIGTERM.
func (o *Other) Terminate() error { return o.signal(unix.SIGTERM) }

// Kill ends the process.
func (o *Other) Kill() error { return o.signal(unix.SIGKILL) }

func (o *Other) signal(sig unix.Signal) error {
	var sent error
	err := o.control(func(fd int) { sent = pidfdSignal(fd, sig, 0) })
	return errors.Join(err, sent)
}

// Close ends each Wait. It does nothing to the process.
func (o *Other) Close() error { return o.pidfd.Close() }

// startTimeField is the index of starttime in what statFields returns.
const startTimeField = 22 - 3

// StartTime returns when a process was started, as a text for comparison only. It holds the
// clock ticks from the boot of the system to the start of the process, and the id of that
// boot.
func StartTime(pid int) (string, error) {
	fields, err := statFields(pid)
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return fields[startTimeField] + "@" + strings.TrimSpace(string(boot)), nil
}

// statFields returns the fields of /proc/PID/stat (proc_pid_stat(5)) after the name, which is
// the second. There are enough for startTimeField.
func statFields(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name, in parentheses, may contain any character.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= startTimeField {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(fields))
	}
	return fields, nil
}
