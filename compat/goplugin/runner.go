package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// offerVariable is the variable by which a Plugwire host offers more than go-plugin knows.
const offerVariable = "PLUGWIRE_OFFER"

// boundVariable is where a host of this module puts its offer instead: in it, the plugins of
// this module find what binds their lives to the host's.
const boundVariable = "PLUGWIRE_GOPLUGIN_OFFER"

// commandRunner starts plugins as go-plugin does. A plugin on Plugwire would agree with its
// host on more than go-plugin has, and no other host could then reattach to it. So the
// commandRunner hides what the host offers beyond go-plugin.
type commandRunner struct {
	host.Runner // the one that starts the process

	config *ClientConfig
	kept   []string // variables of the handshake that the user's command sets
}

// commanded returns the runner and the command of a start. The runner is nil if the user's
// command cannot be started.
func (s *launch) commanded() (*commandRunner, *exec.Cmd) {
	c := s.client.config
	r := &commandRunner{Runner: host.LocalRunner(), config: c}
	if c.RunnerFunc != nil {
		cmd := &exec.Cmd{Path: "plugin", Args: []string{"plugin"}}
		cmd.Env = c.environ(cmd)
		r.Runner = &funcRunner{config: c}
		return r, cmd
	}
	if c.Cmd.Stdout != nil || c.Cmd.Stderr != nil || c.Cmd.Process != nil && !r.mayRestart() {
		return nil, c.Cmd
	}
	if keeps(keepOutlive) {
		r.Runner = outliveRunner{}
	}
	for _, variable := range c.Cmd.Env {
		if name, _, _ := strings.Cut(variable, "="); name == EnvUnixSocketDir || name == EnvUnixSocketGroup {
			r.kept = append(r.kept, variable)
		}
	}
	cmd := &exec.Cmd{
		Path:        c.Cmd.Path,
		Args:        slices.Clone(c.Cmd.Args),
		Dir:         c.Cmd.Dir,
		ExtraFiles:  slices.Clone(c.Cmd.ExtraFiles),
		SysProcAttr: c.Cmd.SysProcAttr,
		Err:         c.Cmd.Err,
	}
	cmd.Env = c.environ(c.Cmd)
	return r, cmd
}

// mayRestart reports whether the process of the command is that of an earlier start.
func (r *commandRunner) mayRestart() bool { return r.config.Cmd.ProcessState != nil }

// Unwrap implements [host.Wrapper].
func (r *commandRunner) Unwrap() host.Runner { return r.Runner }

// KeepsCredentials implements [host.CredentialKeeper].
func (r *commandRunner) KeepsCredentials() bool {
	k, ok := r.Runner.(host.CredentialKeeper)
	return ok && k.KeepsCredentials() && !keeps(keepAnyUser)
}

func (r *commandRunner) runsPath() bool {
	p, ok := r.Runner.(host.PathRunner)
	return ok && p.RunsPath()
}

// Start implements [host.Runner].
func (r *commandRunner) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	cmd := cfg.Command
	for i, variable := range cmd.Env {
		if offer, ok := strings.CutPrefix(variable, offerVariable+"="); ok {
			cmd.Env[i] = boundVariable + "=" + offer
		}
	}
	cmd.Env = append(cmd.Env, levelVariable+"="+level(r.config.Logger).String())
	if kept := os.Getenv(keepVariable); kept != "" {
		cmd.Env = append(cmd.Env, keepVariable+"="+kept)
	}
	if keeps(keepStdin) {
		cmd.Stdin = os.Stdin
	}
	translated := len(r.kept) > 0
	if keeps(keepAnyUser) {
		cfg.SetPrivateDir("") // another user cannot enter it
		translated = true
	}
	cmd.Env = append(cmd.Env, r.kept...) // the last one counts
	p, err := r.Runner.Start(ctx, cfg)
	if err == nil && translated {
		p = sameAddresses{p}
	}
	return p, err
}

// bind shows the user's command the process of the plugin, and ends the plugin with the
// context of the command.
func (r *commandRunner) bind(p *host.Plugin) {
	cmd := r.config.Cmd
	if cmd == nil {
		return
	}
	process, err := os.FindProcess(p.Info().PID)
	if err != nil {
		return // the process has ended
	}
	cmd.Process = process
	if ctx := contextOf(cmd); ctx != nil {
		go endWith(ctx, cmd, p.Done())
	}
}

// endWith ends the process of a command with its context, as package exec does. It returns
// when the process has ended.
func endWith(ctx context.Context, cmd *exec.Cmd, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	if cmd.Cancel != nil {
		_ = cmd.Cancel() // an error means that the process has ended
	}
	if cmd.WaitDelay <= 0 {
		return
	}
	delay := time.NewTimer(cmd.WaitDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
		_ = cmd.Process.Kill() // an error means that the process has ended
	case <-ended:
	}
}

// bounded returns a context that ends with ctx, and with that of the user's command. Call
// release after the start.
func (r *commandRunner) bounded(ctx context.Context) (bound context.Context, release func(), err error) {
	var own context.Context
	if r.config.Cmd != nil {
		own = contextOf(r.config.Cmd)
	}
	if own == nil {
		return ctx, func() {}, nil
	}
	if err := own.Err(); err != nil {
		return nil, nil, err
	}
	bound, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(own, func() { cancel(own.Err()) })
	return bound, func() {
		stop()
		cancel(nil)
	}, nil
}

// sameAddresses is a process whose plugin has its sockets elsewhere than in the private
// directory, under the same paths as the host.
type sameAddresses struct{ host.Process }

var _ host.Translator = sameAddresses{}

// Unwrap implements [host.ProcessWrapper].
func (p sameAddresses) Unwrap() host.Process { return p.Process }

// PluginToHost implements [host.Translator].
func (sameAddresses) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin implements [host.Translator].
func (sameAddresses) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// funcRunner starts plugins by ClientConfig.RunnerFunc.
type funcRunner struct{ config *ClientConfig }

// Start implements [host.Runner].
func (r *funcRunner) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	cmd := exec.Command("") // as go-plugin does: only its environment counts
	cmd.Env = cfg.Command.Env
	cmd.Stdin = os.Stdin
	one, err := r.config.RunnerFunc(r.config.Logger, cmd, cfg.PrivateDir)
	if err != nil {
		return nil, err
	}
	if one == nil {
		return nil, errors.New("RunnerFunc returned neither a runner nor an error")
	}
	if err := one.Start(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, one.Diagnose(ctx))
	}
	return &runnerProcess{attachedRunner: one, stdout: one.Stdout(), stderr: one.Stderr()}, nil
}

// runnerProcess is a [host.Process] of a runner of go-plugin's kind.
type runnerProcess struct {
	attachedRunner
	stdout, stderr io.ReadCloser
}

var (
	_ host.Process    = (*runnerProcess)(nil)
	_ host.Translator = (*runnerProcess)(nil)
)

// Output implements [host.Process].
func (p *runnerProcess) Output() (stdout, stderr io.ReadCloser) { return p.stdout, p.stderr }

// Wait implements [host.Process].
func (p *runnerProcess) Wait(ctx context.Context) (host.ExitStatus, error) {
	err := p.attachedRunner.Wait(ctx)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return host.ExitStatus{Code: exit.ExitCode(), Unknown: exit.ExitCode() < 0}, nil
	}
	return host.ExitStatus{Unknown: err != nil}, err
}

// Terminate implements [host.Process].
func (p *runnerProcess) Terminate(context.Context) error { return errors.ErrUnsupported }

// outliveRunner starts processes that go on when this one ends.
type outliveRunner struct{}

// Start implements [host.Runner].
func (outliveRunner) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cfg.SetPrivateDir("") // the host removes its directory when it ends
	cmd := cfg.Command
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &outliveProcess{cmd: cmd, stdout: stdout, stderr: stderr, exited: make(chan struct{})}
	go p.wait()
	return sameAddresses{p}, nil
}

// RunsPath implements [host.PathRunner].
func (outliveRunner) RunsPath() bool { return true }

// KeepsCredentials implements [host.CredentialKeeper].
func (outliveRunner) KeepsCredentials() bool { return true }

// outliveProcess is a process that goes on when this one ends.
type outliveProcess struct {
	cmd            *exec.Cmd
	stdout, stderr io.ReadCloser

	exited chan struct{} // closed when the process has ended
	status host.ExitStatus
	err    error // like status, set before exited is closed
}

var _ host.Process = (*outliveProcess)(nil)

// wait reaps the process. It does not close the pipes, which the host reads to their ends.
func (p *outliveProcess) wait() {
	state, err := p.cmd.Process.Wait()
	if err == nil {
		p.status = host.ExitStatus{Code: state.ExitCode(), Unknown: state.ExitCode() < 0}
	}
	p.err = err
	close(p.exited)
}

// ID implements [host.Process].
func (p *outliveProcess) ID() string { return strconv.Itoa(p.cmd.Process.Pid) }

// Output implements [host.Process].
func (p *outliveProcess) Output() (stdout, stderr io.ReadCloser) { return p.stdout, p.stderr }

// Wait implements [host.Process].
func (p *outliveProcess) Wait(ctx context.Context) (host.ExitStatus, error) {
	select {
	case <-p.exited:
		return p.status, p.err
	case <-ctx.Done():
		return host.ExitStatus{}, context.Cause(ctx)
	}
}

// Terminate implements [host.Process].
func (p *outliveProcess) Terminate(context.Context) error { return errors.ErrUnsupported }

// Kill implements [host.Process].
func (p *outliveProcess) Kill(context.Context) error { return p.cmd.Process.Kill() }
