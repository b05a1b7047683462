package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// WhyStopped explains, for people, that a signal or a tracer has stopped a process. It
// returns nothing for any other process, and for one that this process may not look at.
func WhyStopped(pid int) string {
	state, tracer := state(pid)
	switch {
	case strings.HasPrefix(state, "T"):
		return fmt.Sprintf("process %d is stopped (T), by a signal such as SIGSTOP or SIGTTIN: SIGCONT makes it go on", pid)
	case strings.HasPrefix(state, "t"):
		return fmt.Sprintf("process %d is stopped (t) by process %s, which traces it, as a debugger does", pid, tracer)
	default:
		return ""
	}
}

// exitingFlag is PF_EXITING among the flags of /proc/PID/stat: the kernel is ending the
// thread. The kernel sets it before it closes the thread's descriptors.
const exitingFlag = 0x4

// flagsField is the index of the flags among what [statFields] returns.
const flagsField = 6

// IsEnding reports whether the kernel is ending a process or has ended it. On a busy machine
// that takes a process with many threads longer than its peers take to notice that its
// connections are closed.
func IsEnding(pid int) bool {
	fields, err := statFields(pid)
	if err != nil { // the process is gone, or the system hides it
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return true
	}
	flags, err := strconv.ParseUint(fields[flagsField], 10, 32)
	return err == nil && flags&exitingFlag != 0
}

// state returns the state of a process, which begins with a letter, and the number of the
// process that traces it (proc_pid_status(5)). Both are empty if the system does not show
// them.
func state(pid int) (state, tracer string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "State":
			state = strings.TrimSpace(value)
		case "TracerPid":
			return state, strings.TrimSpace(value)
		}
	}
	return state, ""
}
