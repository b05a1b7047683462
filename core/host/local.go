package host

import (
	"context"
	"io"
	"os/exec"
	"strconv"

	"github.com/plugwire/plugwire/core/internal/process"
)

// LocalRunner returns the default [Runner]. It starts a process of this machine, which
// leads a process group of its own and ends with this process.
//
// Wrap it to start the plugin by another program: nice, a sandbox, a namespace. Such a
// runner changes Command.Path and Command.Args, calls Start of this one, and is a
// [Wrapper]. The plugin then keeps its lifeline, its inherited files, [WithChecksum] and
// peer credentials, as long as the other program leaves them alone.
func LocalRunner() Runner { return localRunner{} }

type localRunner struct{}

var (
	_ FilePasser       = localRunner{}
	_ PathRunner       = localRunner{}
	_ CredentialKeeper = localRunner{}
	_ Quitter          = localProcess{}
)

// PassesFiles implements [FilePasser].
func (localRunner) PassesFiles() bool { return true }

// RunsPath implements [PathRunner].
func (localRunner) RunsPath() bool { return true }

// KeepsCredentials implements [CredentialKeeper].
func (localRunner) KeepsCredentials() bool { return true }

// Start implements [Runner].
func (localRunner) Start(ctx context.Context, cfg StartConfig) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := func(cmd *exec.Cmd) (*process.Process, error) { return process.Start(cmd, cfg.leash) }
	p, err := startWhenFree(ctx, cfg.Command, start)
	if err != nil {
		return nil, err
	}
	return localProcess{p}, nil
}

// localProcess is a [Process] of this machine.
type localProcess struct{ *process.Process }

// ID implements [Process].
func (p localProcess) ID() string { return strconv.Itoa(p.PID()) }

// localPID implements [localNumber].
func (p localProcess) localPID() int { return p.PID() }

// Output implements [Process].
func (p localProcess) Output() (stdout, stderr io.ReadCloser) { return p.Process.Output() }

// Wait implements [Process].
func (p localProcess) Wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-p.Exited():
	case <-ctx.Done():
		return ExitStatus{}, context.Cause(ctx)
	}
	status, err := p.Process.Wait()
	return ExitStatus(status), err
}

// Terminate implements [Process].
func (p localProcess) Terminate(context.Context) error { return p.Process.Terminate() }

// Quit implements [Quitter].
func (p localProcess) Quit(context.Context) error { return p.Process.Quit() }

// Kill implements [Process].
func (p localProcess) Kill(context.Context) error { return p.Process.Kill() }
