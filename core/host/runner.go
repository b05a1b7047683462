package host

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"

	"github.com/plugwire/plugwire/core/internal/leash"
	"github.com/plugwire/plugwire/core/internal/process"
)

// Runner starts plugins somewhere. The default starts a process of this
// machine; another may start a container, or a goroutine of a test.
//
// All that a plugin must be told is in the command's environment. A runner whose
// plugins see another file system than the host does three things:
//
//   - It passes cmd.Env on, and nothing of its own environment that belongs to
//     the handshake. The directory in PLUGIN_UNIX_SOCKET_DIR is the host's, which
//     makes and removes it: the runner shows it to the plugin (a bind mount) and
//     replaces the variable's value by the path under which the plugin has it.
//     Where no directory can be shared it drops the variable.
//   - Its Process is a [Translator], so that the host dials the address that is
//     the plugin's by the name that it has here.
//   - It says which security is possible. Peer credentials hold if the kernel
//     shows the plugin's user to the host as the one whom the command asks for,
//     and the host's to the plugin as the plugin's own: not across machines, and
//     not where a container has users of its own. [WithMutualTLS] and
//     [WithTLSConfig] work across anything that carries bytes, as no address is in
//     a certificate.
//
// A runner of its own gets no lifeline, and transports whose connection is
// inherited are not offered. ExtraFiles and Stdin then are only what the user has
// asked for: a runner that cannot pass them on refuses a command that has any.
// Ending the process when the host dies is up to the runner.
type Runner interface {
	// Start starts cmd, which is made for this one start: Path, Args, Env, Dir,
	// Stdin, ExtraFiles and SysProcAttr are set, and the runner may change it. It
	// returns as soon as the process runs; the inherited files are closed after
	// it returns. The context bounds the start only, never the process's life.
	Start(ctx context.Context, cmd *exec.Cmd) (Process, error)
}

// Process is what a Runner has started. Its methods are safe for concurrent
// use. One whose addresses are not the host's is a [Translator] too.
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
	// Unknown is set if the system does not tell this host how the process ended:
	// the process is not the host's child ([Attach]), or other code of the host has
	// waited for it, as an init of a container does for all children.
	Unknown bool
}

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

// clean reports whether nothing says that the process has failed.
func (s ExitStatus) clean() bool { return s.Code == 0 && s.Signal == "" }

type localRunner struct{}

func (r localRunner) Start(ctx context.Context, cmd *exec.Cmd) (Process, error) {
	return r.start(ctx, cmd, nil)
}

func (localRunner) start(ctx context.Context, cmd *exec.Cmd, leash *leash.Leash) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := startWhenFree(ctx, cmd, func(cmd *exec.Cmd) (*process.Process, error) { return process.Start(cmd, leash) })
	if err != nil {
		return nil, err
	}
	return localProcess{p}, nil
}

type localProcess struct{ *process.Process }

func (p localProcess) ID() string { return strconv.Itoa(p.PID()) }

// localPID is for [child.localProcessID].
func (p localProcess) localPID() int { return p.PID() }

func (p localProcess) Output() (stdout, stderr io.ReadCloser) { return p.Process.Output() }

func (p localProcess) Wait() (ExitStatus, error) {
	status, err := p.Process.Wait()
	return ExitStatus(status), err
}
