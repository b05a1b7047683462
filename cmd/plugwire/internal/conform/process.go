package conform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Start is what a process is started with.
type Start struct {
	// Command is the program with its arguments. Nil means the program that is checked.
	Command []string
	// Env is the whole environment; nil means [Case.Environ].
	Env []string
	// Files are inherited as descriptors from 3 on. The caller keeps and closes its own.
	Files []*os.File
	// Stdin is the standard input; nil means the null device.
	Stdin *os.File
	// SameGroup leaves the process in the group of this one. Otherwise it leads a session.
	SameGroup bool
}

// Process is a process that a check has started.
type Process struct {
	// Stdout and Stderr record what the process prints.
	Stdout, Stderr *Recording

	cmd    *exec.Cmd
	group  bool
	exited chan struct{} // closed when the process was waited for
	err    error         // how it ended; valid once exited is closed
}

// Start starts a process. The case ends it, with its group, after the check.
func (c *Case) Start(s Start) (*Process, error) {
	if s.Command == nil {
		s.Command = c.Command
	}
	if s.Env == nil {
		s.Env = c.Environ()
	}
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = c.WorkDir, s.Env, s.Files
	if s.Stdin != nil {
		cmd.Stdin = s.Stdin
	}
	setGroup(cmd, !s.SameGroup)
	p := &Process{cmd: cmd, group: !s.SameGroup, exited: make(chan struct{})}
	out, outEnd, err := newRecording()
	if err != nil {
		return nil, err
	}
	errs, errEnd, err := newRecording()
	if err != nil {
		return nil, errors.Join(err, outEnd.Close(), out.Close())
	}
	p.Stdout, p.Stderr = out, errs
	cmd.Stdout, cmd.Stderr = outEnd, errEnd

	c.mu.Lock()
	err = context.Canceled // the check is over
	if !c.ended {
		if err = cmd.Start(); err == nil {
			c.processes = append(c.processes, p)
		}
	}
	c.mu.Unlock()
	closeErr := errors.Join(outEnd.Close(), errEnd.Close())
	if err != nil {
		return nil, errors.Join(err, closeErr, out.Close(), errs.Close())
	}
	go func() { // ends with the process, which the case kills
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, closeErr
}

// Pid returns the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exit is how a process has ended.
type Exit struct {
	// Code is the exit code, or -1 after a signal.
	Code int
	text string
}

// String returns the exit for people: exit status 1, signal: killed.
func (e Exit) String() string { return e.text }

// Wait waits for the end of the process.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.exited:
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
	return Exit{Code: p.cmd.ProcessState.ExitCode(), text: p.cmd.ProcessState.String()}, nil
}

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends a signal to the process alone. One that has ended gets none.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill kills the process, and its group if it leads one.
func (p *Process) Kill() {
	if p.group {
		killGroup(p.Pid())
	}
	_ = p.cmd.Process.Kill() // it may have ended
}

// killWait is how long a process may take to end after it was killed. The kernel takes
// milliseconds, unless a disk does not answer.
const killWait = 10 * time.Second

// release waits for the process after it was killed, and for what it printed.
func (p *Process) release() error {
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		return fmt.Errorf("process %d does not end after it was killed", p.Pid())
	}
	return errors.Join(p.Stdout.Close(), p.Stderr.Close())
}
