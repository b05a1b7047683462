package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/internal/logs"
	"github.com/plugwire/plugwire/core/internal/process"
)

// child is a started process and all that hangs on it: its output, its
// directory, its lifeline.
type child struct {
	Process
	command  string
	dir      *process.Dir // nil where there are none
	lifeline *os.File     // our end; nil where there are none

	answers        <-chan answerResult
	logger         *slog.Logger
	stdout, stderr *logs.Collector
	copies         copies

	exited  chan struct{} // closed when the process has ended
	status  ExitStatus    // set then
	waitErr error         // set when gone is done

	// gone is done when the process has ended and its output was read.
	gone context.Context //nolint:containedctx // it is the child's own life, not a caller's
}

// drainTimeout bounds how long the output of a process is read after it and its
// group have ended. Only a descendant that left the group can still hold the
// pipe then; what it has written is in the pipe and is read at once.
const drainTimeout = 500 * time.Millisecond

// startChild starts cmd. The child owns dir and lifeline from then on, also if
// the start fails.
func startChild(cfg *config, cmd *exec.Cmd, instance string, dir *process.Dir, lifeline *os.File) (*child, error) {
	c := &child{command: describe(cmd), dir: dir, lifeline: lifeline}
	cfg.trace.processStart(cmd)
	p, err := cfg.runner.Start(cmd)
	if err != nil {
		c.release()
		return nil, err
	}
	c.Process = p
	cfg.trace.processStarted(p.ID())

	stdout, stderr := p.Output()
	logger := cfg.logger.With("plugin", programName(cmd), "pid", p.ID())
	c.logger, c.copies = logger, newCopies(cfg)
	answers := newAnswerReader(stdout, instance)
	c.answers = answers.found
	c.stdout = logs.NewCollector(logger, logs.CollectorConfig{Stream: "stdout", Copy: c.copies.stdout})
	c.stderr = logs.NewCollector(logger, logs.CollectorConfig{Stream: "stderr", Copy: c.copies.stderr})
	read := make(chan struct{}) // closed when both streams were read to their end
	var cut atomic.Bool         // they were closed before that
	var readers sync.WaitGroup
	collect := func(collector *logs.Collector, r io.Reader) {
		if err := collector.Run(r); err != nil {
			logger.Warn("reading the plugin's output ended", "error", err)
		}
		if cut.Load() {
			logger.Warn("a process that left the plugin's group still holds its output, which is no longer read")
		}
	}
	readers.Go(func() { collect(c.stdout, answers) })
	readers.Go(func() { collect(c.stderr, stderr) })
	go func() {
		readers.Wait()
		close(read)
	}()

	gone, end := context.WithCancelCause(context.Background())
	c.gone = gone
	c.exited = make(chan struct{})
	go func() {
		c.status, c.waitErr = p.Wait()
		close(c.exited)
		cut.Store(!closesWithin(read, drainTimeout))
		_ = errors.Join(stdout.Close(), stderr.Close()) // only ever read from
		if cut.Load() && !closesWithin(read, drainTimeout) {
			c.waitErr = errors.Join(c.waitErr, errOutputStuck)
		}
		cfg.trace.processExited(c.status)
		end(errExited)
	}()
	return c, nil
}

// errOutputStuck is about the user's own code: nothing of ours waits for it.
var errOutputStuck = errors.New("what it printed last is not logged: a writer given with host.WithStdout or host.WithStderr, or the logger, does not return")

// errExited is the cause with which child.gone ends.
var errExited = errors.New("the process ended")

// release gives back what this side made for the process.
func (c *child) release() {
	if c.lifeline != nil {
		_ = c.lifeline.Close()
	}
	if c.dir != nil {
		c.dir.Close()
	}
}

// killTimeout bounds the wait for a process that was sent SIGKILL. The kernel
// ends it at once unless it is stuck in a driver.
const killTimeout = 5 * time.Second

// stop kills the process and releases everything. An error means that it still
// runs.
func (c *child) stop() error {
	defer c.release()
	err := c.Kill()
	if closesWithin(c.exited, killTimeout) {
		<-c.gone.Done() // drainTimeout bounds it
		return nil
	}
	return errors.Join(fmt.Errorf("process %s is still there %v after it was killed", c.ID(), killTimeout), err)
}

// exitsWithin waits for the end of the process, and reports whether it came. Its
// output may go on: another process can hold it.
func (c *child) exitsWithin(d time.Duration) bool { return closesWithin(c.exited, d) }

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
		return false
	}
}

// goCrashCode is the exit code of a Go program after a panic or a fatal error
// (runtime/panic.go).
const goCrashCode = 2

// exitError describes the end of the process. Call it when the child is gone.
func (c *child) exitError(step Step, reason error) *ExitError {
	e := &ExitError{
		Command: c.command, ID: c.ID(), Status: c.status, Step: step,
		Stderr: c.stderr.Tail(), Err: errors.Join(reason, c.waitErr),
	}
	// A process that lives on can print the same words, so they count only if it
	// ended as Go's runtime ends one: with code 2, or by SIGABRT or the signal
	// that it died of.
	if c.status.Code == goCrashCode || c.status.Signal != "" {
		e.Panic, e.Stack, _ = c.stderr.Panic()
	}
	return e
}

var _ slog.LogValuer = ExitStatus{}

// LogValue implements [slog.LogValuer].
func (s ExitStatus) LogValue() slog.Value { return slog.StringValue(s.String()) }
