package host

import (
	"fmt"
	"log/slog"
)

// ExitStatus is how a process ended.
type ExitStatus struct {
	// Code is the exit code. It has no meaning if there was a signal.
	Code int
	// Signal is the name of the signal that ended the process; empty if none did.
	Signal string
	// Unknown is set if the system does not tell this host how the process ended.
	// Either another process has started it ([Attach]), or other code of the host has
	// waited for it, like the init of a container.
	Unknown bool
}

var _ slog.LogValuer = ExitStatus{}

// String returns "exit code 3", "signal: killed" or "exit status unknown".
func (s ExitStatus) String() string {
	if s.Unknown {
		return "exit status unknown"
	}
	if s.Signal != "" {
		return "signal: " + s.Signal
	}
	return fmt.Sprintf("exit code %d", s.Code)
}

// LogValue implements [slog.LogValuer].
func (s ExitStatus) LogValue() slog.Value { return slog.StringValue(s.String()) }

// clean reports whether nothing says that the process has failed.
func (s ExitStatus) clean() bool { return s.Code == 0 && s.Signal == "" }
