package host

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"

	"github.com/plugwire/plugwire/core/internal/process"
)

// Runner starts plugins somewhere. The default starts a process of this
// machine; another may start a container, or a goroutine of a test.
type Runner interface {
	// Start starts cmd, which is made for this one start: Path, Args, Env, Dir,
	// Stdin, ExtraFiles and SysProcAttr are set. It returns as soon as the
	// process runs; the inherited files are closed after it returns.
	Start(cmd *exec.Cmd) (Process, error)
}

// Process is what a Runner has started. Its methods are safe for concurrent
// use.
type Process interface {
	// ID names the process for people: its number, if it has one.
	ID() string
	// Output returns the process's standard output and standard error. The
	// caller reads both to their end and closes them, which must end a Read.
	Output() (stdout, stderr io.ReadCloser)
	// Wait returns how the process, and all that it started, ended.
	Wait() (ExitStatus, error)
	// Terminate asks the process, and all that it started, to end. It returns
	// errors.ErrUnsupported where that cannot be asked.
	Terminate() error
	// Kill ends the process and all that it started.
	Kill() error
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	// Code is the exit code; meaningless if there was a signal.
	Code int
	// Signal is the name of the signal that ended the process; empty if none.
	Signal string
}

// String returns "exit code 3" or "signal: killed".
func (s ExitStatus) String() string {
	if s.Signal != "" {
		return "signal: " + s.Signal
	}
	return fmt.Sprintf("exit code %d", s.Code)
}

type localRunner struct{}

func (localRunner) Start(cmd *exec.Cmd) (Process, error) {
	p, err := process.Start(cmd)
	if err != nil {
		return nil, err
	}
	return localProcess{p}, nil
}

type localProcess struct{ *process.Process }

func (p localProcess) ID() string { return strconv.Itoa(p.PID()) }

func (p localProcess) Output() (stdout, stderr io.ReadCloser) { return p.Process.Output() }

func (p localProcess) Wait() (ExitStatus, error) {
	code, signal, err := p.Process.Wait()
	return ExitStatus{Code: code, Signal: signal}, err
}
