package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Other is a process that another has started. It stays the one that it was
// opened as: when it has ended its number may become another's, which is never
// waited for nor sent a signal. Its methods are safe for concurrent use.
type Other struct {
	pidfd   *os.File
	started string
}

// OpenOther opens the process with that number.
func OpenOther(pid int) (*Other, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("%d is no number of a process", pid)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that Wait can be ended
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	o := &Other{pidfd: os.NewFile(uintptr(fd), "pidfd")}
	o.started, _ = StartTime(pid) // some systems hide other users' processes
	if hasEnded(fd) {             // what was read may be another's
		return nil, errors.Join(fmt.Errorf("process %d: %w", pid, unix.ESRCH), o.Close())
	}
	return o, nil
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

// Started tells the process from every other that has or will have its number:
// see [StartTime]. It is empty where the system does not say.
func (o *Other) Started() string { return o.started }

// Wait returns nil when the process has ended, and another error when it cannot
// be waited for, such as after Close.
func (o *Other) Wait() error {
	raw, err := o.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool { return hasEnded(int(fd)) })
}

// Terminate asks the process to end: SIGTERM.
func (o *Other) Terminate() error { return o.signal(unix.SIGTERM) }

// Kill ends the process.
func (o *Other) Kill() error { return o.signal(unix.SIGKILL) }

// signal sends a signal. A process that has ended already is what is wanted.
func (o *Other) signal(sig unix.Signal) error {
	raw, err := o.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	if errors.Is(sent, unix.ESRCH) {
		sent = nil
	}
	return errors.Join(err, sent)
}

// Close gives the process up and ends a Wait. It does nothing to the process.
func (o *Other) Close() error { return o.pidfd.Close() }

// startTimeField is the index of starttime in /proc/PID/stat (proc_pid_stat(5)),
// counted from the first field after the name, which is the third.
const startTimeField = 22 - 3

// StartTime returns when a process was started, as text that is to be compared
// and not to be read: the ticks of the clock from the start of the system to that
// of the process, and which start of the system.
func StartTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= startTimeField {
		return "", fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(fields))
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return fields[startTimeField] + "@" + strings.TrimSpace(string(boot)), nil
}
