package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// Phase is how far a start came.
type Phase string

// The phases of a start.
const (
	PhasePrepare   Phase = "prepare"   // options, certificate, directory
	PhaseStart     Phase = "start"     // starting the process
	PhaseHandshake Phase = "handshake" // waiting for the answer and checking it
	PhaseConnect   Phase = "connect"   // dialing and authenticating
	PhaseReady     Phase = "ready"     // waiting for the plugin's OnReady functions
)

// StartError is why a plugin could not be started. It unwraps to the cause, such as a
// [*github.com/plugwire/plugwire/core/handshake.Error], an error of the operating
// system, or the context's.
type StartError struct {
	// Attach is set for a plugin that ran already ([Attach]).
	Attach bool
	// Phase is how far the start came.
	Phase Phase
	// Name is the plugin's ([WithName]), Command the program and its arguments.
	Name, Command string
	// Exit is how the process ended, nil if it was still running.
	Exit *ExitStatus
	// Stdout has the last lines that the process printed beside its answer, and Stderr
	// the last lines of its standard error.
	Stdout, Stderr string
	// Elapsed is the time since the start.
	Elapsed time.Duration
	// Hint is what to do about the error; may be empty.
	Hint string
	// Err is the cause.
	Err error
}

// Error returns all that a person needs, on several lines if the plugin printed
// something.
func (e *StartError) Error() string {
	var b strings.Builder
	what := "did not start"
	if e.Attach {
		what = "could not be attached to"
	}
	fmt.Fprintf(&b, "plugin %s %s (%s", label(e.Name, e.Command, ""), what, e.Phase)
	if e.Phase != PhasePrepare {
		fmt.Fprintf(&b, ", after %v", e.Elapsed.Round(time.Millisecond))
	}
	b.WriteString("): " + logs.Indented(fmt.Sprint(e.Err)))
	if e.Hint != "" {
		b.WriteString(": " + logs.Indented(e.Hint))
	}
	appendOutput(&b, "stdout", e.Stdout)
	appendOutput(&b, "stderr", e.Stderr)
	return b.String()
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Timeout reports whether the start took too long, as for a [net.Error].
func (e *StartError) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

// ExitError is how a plugin ended if the host did not ask it to end, or if it did not
// end when asked. Calls that the plugin could not answer fail with codes.Unavailable
// and unwrap to the ExitError. It matches [net.ErrClosed].
type ExitError struct {
	// Name is the plugin's name ([WithName]), and Command the program and its arguments.
	// ID is the runner's name for the process: the number of a local one.
	Name, Command, ID string
	// Status is how the process ended.
	Status ExitStatus
	// Step is the last step that ended the plugin; empty if it ended by itself.
	Step Step
	// Panic and Stack describe the panic or the fatal error that ended a plugin written
	// in Go; empty otherwise.
	Panic, Stack string
	// Stderr has the last lines of its standard error.
	Stderr string
	// Err is why the host ended the plugin, or could not learn how it ended; may be nil.
	Err error
}

// Error says how the plugin ended, with the last lines of its standard error. Only the
// log has the stack.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugin %s ", label(e.Name, e.Command, e.ID))
	switch {
	case e.Panic != "":
		fmt.Fprintf(&b, "crashed: %s (%v)", logs.Indented(e.Panic), e.Status)
	case e.Step == StepTerminate:
		fmt.Fprintf(&b, "did not stop in time when asked, and was terminated (%v)", e.Status)
	case e.Step == StepKill:
		fmt.Fprintf(&b, "did not stop in time when asked, nor when terminated, and was killed (%v)", e.Status)
	case e.Step == StepAsk && e.Status.Signal != "":
		fmt.Fprintf(&b, "ended while it was being stopped (%v)", e.Status)
	case e.Step == StepAsk && e.Status.Unknown:
		fmt.Fprintf(&b, "was asked to stop (%v)", e.Status)
	case e.Step == StepAsk:
		fmt.Fprintf(&b, "stopped when asked, with an error (%v)", e.Status)
	case e.Status == ExitStatus{} && e.Err == nil:
		fmt.Fprintf(&b, "ended in good order, which this host had not asked for (%v)", e.Status)
	default:
		fmt.Fprintf(&b, "ended (%v)", e.Status)
	}
	if e.Err != nil {
		b.WriteString(": " + logs.Indented(e.Err.Error()))
	}
	if e.Panic == "" {
		appendOutput(&b, "stderr", e.Stderr)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Is reports whether target is [net.ErrClosed]: like a closed connection, a plugin that
// has ended is gone.
func (e *ExitError) Is(target error) bool { return target == net.ErrClosed }

// maxShownLine is how many bytes of a line the text of an error has. A logged stack is
// one line of thousands of bytes, and the log has all of it.
const maxShownLine = 400

// appendOutput quotes what a process printed, each line on a line of its own.
func appendOutput(b *strings.Builder, name, text string) {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return
	}
	fmt.Fprintf(b, "\n  its last lines on %s:", name)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) > maxShownLine {
			shown := strings.ToValidUTF8(line[:maxShownLine], "")
			line = fmt.Sprintf("%s... (and %d more bytes)", shown, len(line)-len(shown))
		}
		b.WriteString("\n    " + line)
	}
}
