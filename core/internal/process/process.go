// Package process starts, watches and stops another process of the operating system, in a
// group of its own, and binds its life to the host's. Start with [Start]; [OpenOther] is for
// a process that another one started. What a process does to itself is package self.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/leash"
)

// Process is a running plugin and everything in its process group.
type Process struct {
	cmd    *exec.Cmd
	pid    int // os.Process forgets its own when other code has taken the status
	stdout *os.File
	stderr *os.File
	group  *group
	leash  *leash.Leash

	exited  chan struct{} // closed after status is set and the group is gone
	status  Status
	waitErr error
}

// Start starts cmd, which the caller has made for this one start. Start replaces its Stdout
// and Stderr, and a nil Stdin is the null device. The process leads a group of its own, which
// ends with it. Start ties leash to that group, unless leash is nil. If the calling goroutine
// is locked to its thread, that thread starts the process.
func Start(cmd *exec.Cmd, leash *leash.Leash) (_ *Process, err error) {
	p := &Process{cmd: cmd, leash: leash, exited: make(chan struct{})}
	var theirs []*os.File // ends of pipes that only the child keeps
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			for _, f := range []*os.File{p.stdout, p.stderr} {
				if f != nil {
					_ = f.Close()
				}
			}
		}
	}()
	pipe := func(ours **os.File) (*os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("pipe: %w", err)
		}
		*ours = r
		theirs = append(theirs, w)
		return w, nil
	}
	stdout, err := pipe(&p.stdout)
	if err != nil {
		return nil, err
	}
	stderr, err := pipe(&p.stderr)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	here, lasts := callersThread()
	if p.group, err = newGroup(cmd, lasts); err != nil {
		return nil, err
	}
	if here {
		if err = p.start(); err == nil {
			go p.await()
		}
	} else {
		started := make(chan error)
		go func() { // this goroutine then waits, and keeps its thread for as long as the process lives
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			err := p.start()
			started <- err
			if err == nil {
				p.await()
			}
		}()
		err = <-started
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Process) start() error {
	err := p.cmd.Start()
	if err == nil {
		p.pid = p.cmd.Process.Pid
		err = errors.Join(p.group.started(p.cmd.Process), p.leash.TieTo(p.cmd.Process))
		if err != nil {
			// A process whose life is not bound to ours must not live.
			err = errors.Join(err, p.cmd.Process.Kill())
			_ = p.cmd.Wait() // the error above is the one that counts
		}
	}
	if err != nil {
		p.group.close()
	}
	return err
}

// await waits for the end of the process, and ends the rest of its group.
func (p *Process) await() {
	p.waitErr = p.group.wait(p.reap)
	p.group.close()
	close(p.exited)
}

// reap takes the status of the process, which has ended.
func (p *Process) reap() error {
	err := p.cmd.Wait()
	if p.cmd.ProcessState == nil {
		if errors.Is(err, syscall.ECHILD) {
			err = nil // other code of this process waits for all children
		}
		p.status = Status{Unknown: true}
		return errors.Join(err, p.cmd.Process.Release())
	}
	p.status = Status{Code: p.cmd.ProcessState.ExitCode()}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		p.status = Status{Signal: status.Signal().String()}
	}
	return nil
}

// PID returns the process's number.
func (p *Process) PID() int { return p.pid }

// Output returns the read ends of the process's standard output and standard
// error. The caller closes them.
func (p *Process) Output() (stdout, stderr *os.File) { return p.stdout, p.stderr }

// Status is how a process ended.
type Status struct {
	Code    int    // the exit code, 0 if there was a signal
	Signal  string // the name of the signal that ended the process; empty if none
	Unknown bool   // other code of this process has taken the status
}

// Wait waits until the process and its group have ended, and returns how the process ended.
func (p *Process) Wait() (Status, error) {
	<-p.exited
	return p.status, p.waitErr
}

// Exited returns a channel that is closed when the process and its group have ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Terminate asks the whole group to end, by SIGTERM. On Windows, which has no such request,
// it returns [errors.ErrUnsupported].
func (p *Process) Terminate() error { return p.group.terminate() }

// Quit makes the whole group print what it is doing and end, by SIGQUIT. On Windows,
// which has no such request, it returns [errors.ErrUnsupported].
func (p *Process) Quit() error { return p.group.quit() }

// Kill ends the whole group.
func (p *Process) Kill() error { return p.group.kill() }
