package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/process"
)

// child is a started process with all that belongs to it: its output, its directory,
// and what binds its life to this host's.
type child struct {
	Process
	name     string
	command  string
	dir      *privdir.Dir  // nil if there is none
	bond     *bond         // nil if nothing binds it
	verified *process.Copy // the copy that runs; nil if the command's own file does

	answers        <-chan answerResult
	logger         *slog.Logger
	stdout, stderr *logs.Collector
	copies         copies

	exited  chan struct{} // closed when the process has ended
	status  ExitStatus    // set before exited is closed
	waitErr error         // set before gone is done

	// gone is done when the process has ended and its output has been read.
	gone context.Context //nolint:containedctx // it is the child's own life, not a caller's
}

const (
	// drainTimeout bounds how long the host reads and logs the output of a process after
	// the process and its group have ended. At most a few thousand lines are then in the
	// pipes and in the collectors. They take milliseconds, or seconds if many processes
	// share few processors. They take longer only if the user's log handler is slow.
	drainTimeout = 5 * time.Second
	// hurryTimeout bounds how long the host then waits for the next read of what is left
	// in the pipe. The host does not log that any more.
	hurryTimeout = time.Second
	// maxHurries is how often that can happen. The pipes hold 64 KiB each, so only a
	// process that still writes to them needs more.
	maxHurries = 10
	// heldTimeout is how long another process may hold the output before the host stops
	// reading it. A process that has left the group may be ending too.
	heldTimeout = 500 * time.Millisecond
	// heldInterval is the time between two looks at what holds the output.
	heldInterval = 100 * time.Millisecond
)

// startChild starts cmd, or the verified copy of its program. The context bounds the
// start. From then on the child owns bond, even if the start fails, and dir and
// verified if the start succeeds.
func startChild(ctx context.Context, cfg *config, cmd *exec.Cmd, instance string, dir *privdir.Dir, bond *bond, verified *process.Copy) (*child, error) {
	c := &child{name: cfg.name, command: describe(cmd), logger: cfg.logger, dir: dir, bond: bond, verified: verified}
	path := cmd.Path
	verified.Use(cmd)
	cfg.trace.processStart(cmd, c.privateDir())
	p, err := cfg.runner.Start(ctx, c.startConfig(cfg, cmd))
	if err == nil && p == nil {
		err = errNoProcess
	}
	if err != nil {
		bond.release()
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok && pathErr.Path == cmd.Path {
			pathErr.Path = path // the path that the user gave
		}
		return nil, err
	}
	verified.Started()
	cfg.trace.processStarted(p.ID())
	c.watch(cfg, p, instance)
	return c, nil
}

var errNoProcess = errors.New("the runner returned neither a process nor an error")

// startConfig returns what the runner is to start.
func (c *child) startConfig(cfg *config, cmd *exec.Cmd) StartConfig {
	start := StartConfig{Command: cmd, Name: cfg.name, PrivateDir: c.privateDir(), Security: cfg.security()}
	if c.bond != nil {
		start.leash = c.bond.leash
	}
	return start
}

// privateDir returns the path of the private directory, empty if there is none.
func (c *child) privateDir() string {
	if c.dir == nil {
		return ""
	}
	return c.dir.Path()
}

// newChild returns the child for a process that runs already.
func newChild(cfg *config, p Process, command, instance string) *child {
	c := &child{name: cfg.name, command: command}
	c.watch(cfg, p, instance)
	return c
}

// watch reads the output of a process and waits for its end.
func (c *child) watch(cfg *config, p Process, instance string) {
	c.Process = p
	stdout, stderr := p.Output()
	logger := cfg.logger.With(logs.ProcessKey, p.ID())
	c.logger, c.copies = logger, newCopies(cfg)
	answers := newAnswerReader(stdout, instance)
	c.answers = answers.found
	c.stdout = logs.NewCollector(logger, logs.CollectorConfig{Stream: "stdout", Copy: c.copies.stdout})
	c.stderr = logs.NewCollector(logger, logs.CollectorConfig{Stream: "stderr", Copy: c.copies.stderr})
	read := make(chan struct{}) // closed when both streams were read to their end
	var held atomic.Pointer[string]
	var cut atomic.Bool
	var readers sync.WaitGroup
	collect := func(collector *logs.Collector, r io.Reader) {
		if err := collector.Run(r); err != nil {
			logger.Warn("reading the plugin's output ended", "error", err)
		}
	}
	readers.Go(func() { collect(c.stdout, answers) })
	readers.Go(func() { collect(c.stderr, stderr) })
	go func() {
		defer close(read)
		readers.Wait()
		switch by := held.Load(); { // logged by this goroutine, because the handler may not return
		case cut.Load():
			logger.Warn("the end of the plugin's output is lost: this machine, or a writer of the host, is too slow")
		case by == nil:
		case *by == "":
			logger.Warn("the plugin's output did not end with the plugin, and is no longer read")
		default:
			logger.Warn("a process that left the plugin's group still holds its output, which is no longer read", "holder", *by)
		}
	}()

	gone, end := context.WithCancelCause(context.Background())
	c.gone = gone
	c.exited = make(chan struct{})
	go func() {
		c.status, c.waitErr = p.Wait(context.Background())
		close(c.exited)
		deadline := time.Now().Add(drainTimeout)
		if by, isHeld := c.awaitOutput(read, deadline); isHeld {
			held.Store(&by)
		} else {
			cut.Store(!closesWithin(read, 0))
		}
		_ = errors.Join(stdout.Close(), stderr.Close()) // nothing was written
		if !closesWithin(read, max(hurryTimeout, time.Until(deadline))) {
			c.waitErr = errors.Join(c.waitErr, errOutputStuck)
		}
		cfg.trace.processExited(c.status)
		end(errExited)
	}()
}

// awaitOutput returns when the output of the process, which has ended, was read and
// logged to its end, or when the deadline has passed. It reports held if the plugin
// prints nothing more and the output still does not end. holder names the process that
// holds the output, if that is known.
func (c *child) awaitOutput(read <-chan struct{}, deadline time.Time) (holder string, held bool) {
	for wait := heldTimeout; ; wait = heldInterval {
		if closesWithin(read, min(wait, time.Until(deadline))) {
			return "", false
		}
		names, held := c.outputHeld()
		switch late := !time.Now().Before(deadline); {
		case held && len(names) > 0:
			return strings.Join(names, ", "), true
		case held && late:
			return "", true
		case late:
			c.stdout.Hurry()
			c.stderr.Hurry()
			for range maxHurries {
				before := c.reads()
				if closesWithin(read, hurryTimeout) || c.reads() == before {
					break // the caller looks at which it was
				}
			}
			return "", false
		}
	}
}

// reads is how often the output was read.
func (c *child) reads() int64 { return c.stdout.Reads() + c.stderr.Reads() }

// outputHolder is a [Process] that knows whether another process holds its output.
type outputHolder interface {
	OutputHeld() (holders []string, held bool)
}

// outputHeld reports whether all output is logged and no end comes, because another
// process holds the output.
func (c *child) outputHeld() (holders []string, held bool) {
	if !c.stdout.Waiting() || !c.stderr.Waiting() {
		return nil, false
	}
	if h, ok := processAs[outputHolder](c.Process); ok {
		return h.OutputHeld()
	}
	return nil, true // the collectors wait, so the reader is not slow
}

// errOutputStuck is about the user's own code: nothing of the framework waits for it.
var errOutputStuck = errors.New("the last lines that it printed are not logged: a writer given with host.WithStdout or host.WithStderr, or the logger, does not return")

// errExited is the cause with which child.gone ends.
var errExited = errors.New("the process ended")

// label is what errors call the plugin.
func (c *child) label() string { return label(c.name, c.command, c.ID()) }

// named returns err with the name of the plugin.
func (c *child) named(err error) error { return fmt.Errorf("plugin %s: %w", c.label(), err) }

// release releases what this side made for the process.
func (c *child) release() {
	c.bond.release()
	release(c.logger, c.dir, c.verified)
}

// release removes what this side made in the file system for a process, within a
// bounded time. A later start removes the rest. dir and verified may be nil.
func release(logger *slog.Logger, dir *privdir.Dir, verified *process.Copy) {
	var err error
	if dir != nil {
		err = dir.Close()
	}
	if err = errors.Join(err, verified.Close()); err != nil {
		logger.Warn("what the plugin left could not be removed, so a later start removes it", "error", err)
	}
}

// killTimeout bounds the wait for a process after SIGKILL. The kernel ends it at once
// unless it is stuck in a driver.
const killTimeout = 5 * time.Second

// stop kills the process and releases everything. An error means that the process still
// runs.
func (c *child) stop() error {
	defer c.release()
	err := c.kill()
	if closesWithin(c.exited, killTimeout) {
		<-c.gone.Done() // drainTimeout and hurryTimeout bound it
		return nil
	}
	return errors.Join(fmt.Errorf("process %s is still there %v after it was killed", c.ID(), killTimeout), err)
}

// terminate asks the process to end. The time is bounded, because the command of a
// container runtime may not return.
func (c *child) terminate() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return c.Terminate(ctx)
}

// kill ends the process by force, within a bounded time.
func (c *child) kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return c.Kill(ctx)
}

// exitsWithin waits for the end of the process, and reports whether it came. The output
// may go on, because another process can hold it.
func (c *child) exitsWithin(d time.Duration) bool { return closesWithin(c.exited, d) }

// localNumber is a [Process] of this machine.
type localNumber interface {
	localPID() int // 0 if nothing proves that the process is the plugin's
}

// localProcessID returns the number of the plugin's process on this machine. It returns
// 0 if the process has ended, or if nothing proves that it is the plugin's.
func (c *child) localProcessID() int {
	p, ok := processAs[localNumber](c.Process)
	if !ok || c.hasExited() {
		return 0
	}
	return p.localPID()
}

// whyStopped says that the plugin does not answer because its process is stopped. It
// returns an empty string if the process is not stopped.
func (c *child) whyStopped() string {
	pid := c.localProcessID()
	if pid == 0 {
		return ""
	}
	if why := process.WhyStopped(pid); why != "" {
		return "the plugin's " + why
	}
	return ""
}

// isEnding reports whether the system is ending the process or has ended it, which the host
// may not have noticed yet.
func (c *child) isEnding() bool {
	pid := c.localProcessID()
	return pid != 0 && process.IsEnding(pid) || c.hasExited()
}

// exitsAfterLoss reports whether the process ends within exitAfterLoss, or when the system
// is ending it by then.
func (c *child) exitsAfterLoss() bool {
	return c.exitsWithin(exitAfterLoss) || c.isEnding() && c.exitsWithin(killTimeout)
}

func (c *child) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

func closesWithin(ch <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
	}
	select { // both may be ready
	case <-ch:
		return true
	default:
		return false
	}
}

// goCrashCode is the exit code of a Go program after a panic or a fatal error
// (runtime/panic.go).
const goCrashCode = 2

// exitError describes the end of the process. Call it when the child is gone.
func (c *child) exitError(step Step, reason error) *ExitError {
	e := &ExitError{
		Name: c.name, Command: c.command, ID: c.ID(), Status: c.status, Step: step,
		Stderr: c.stderr.Tail(), Err: errors.Join(reason, c.waitErr),
	}
	// A process that lives on can print the same words. So they count only if the process
	// ended as Go's runtime ends one: with code 2, with SIGABRT, or with the signal that
	// it could not handle.
	if c.status.Code == goCrashCode || c.status.Signal != "" {
		e.Panic, e.Stack, _ = c.stderr.Panic()
	}
	return e
}
