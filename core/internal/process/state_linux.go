package process

import (
	"fmt"
	"os"
	"strings"
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

// IsZombie reports whether a process has ended and was not waited for.
func IsZombie(pid int) bool {
	state, _ := state(pid)
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
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
