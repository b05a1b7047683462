package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Case is one check of one rule: the program, and what the check uses and leaves to the
// case to end. Its methods may be called at the same time.
type Case struct {
	// Command is the program that is checked, with its arguments.
	Command []string
	// Env are variables that a person wants the program to have, NAME=VALUE.
	Env []string
	// WorkDir is the working directory of the program; empty for that of this process.
	WorkDir string
	// Dir is a directory of the case's own, with mode 0700. Its path is short enough for
	// sockets. It is removed when the check has ended.
	Dir string

	mu        sync.Mutex // guards what follows
	ended     bool
	processes []*Process
	owned     []io.Closer
}

// newCase makes the directory of a case.
func newCase(command, env []string, workDir string) (*Case, error) {
	dir, err := os.MkdirTemp("", "pwc-")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "t"), 0o700); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Case{Command: command, Env: env, WorkDir: workDir, Dir: dir}, nil
}

// ownVariables are the prefixes of variables that never pass from the environment of
// this process to one that it starts: they would be another host's offer.
var ownVariables = []string{"PLUGIN_", "PLUGWIRE_"}

// Environ returns the environment for the program: that of this process without the
// variables of a host, with a directory for temporary files in the case's own, and with
// the person's variables. The given variables come last, and win.
func (c *Case) Environ(vars ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return slices.ContainsFunc(ownVariables, func(prefix string) bool { return strings.HasPrefix(entry, prefix) })
	})
	env = append(env, "TMPDIR="+c.TempDir())
	env = append(env, c.Env...)
	return append(env, vars...)
}

// TempDir returns the directory for temporary files of the program.
func (c *Case) TempDir() string { return filepath.Join(c.Dir, "t") }

// Own closes a connection, a file or anything else when the check has ended, or when its
// time is over.
func (c *Case) Own(closer io.Closer) {
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.owned = append(c.owned, closer)
	}
	c.mu.Unlock()
	if ended {
		_ = closer.Close() // the check that wanted it is over
	}
}

// check runs the check of a rule, and ends everything that it has started.
func (c *Case) check(ctx context.Context, r *Rule) (result Result) {
	result = Result{Rule: r.ID(), Title: r.Title}
	begun := time.Now()
	bounded, cancel := context.WithTimeout(ctx, r.bound())
	defer cancel()
	stopped := make(chan struct{})
	stop := context.AfterFunc(bounded, func() {
		defer close(stopped)
		c.end()
	})
	err := protect(func() error { return r.Check(bounded, c) })
	if stop() {
		c.end()
	} else {
		<-stopped
		err = late(err, r.bound())
	}
	result.set(err)
	if result.State == Failed || result.State == Broken {
		result.Output = c.output()
	}
	c.release(&result)
	result.Seconds = time.Since(begun).Seconds()
	return result
}

// late returns the result of a check that ended after its bound. By then the case had begun
// to kill the program. What the check saw after that, such as an exit that a rule demands,
// says nothing about the program, and so a check that passed has failed too. A failure is
// kept: checks look for hangs with bounds of their own, which are shorter.
func late(err error, bound time.Duration) error {
	seen := "none until the program was killed"
	if err != nil {
		if _, failed := errors.AsType[*Failure](err); failed {
			return err
		}
		seen = "nothing: " + err.Error()
	}
	return Fail("a result within "+bound.String(), seen, "see at which step the program hangs: plugwire doctor")
}

// protect turns a panic of a check into an error: the other rules are still checked.
func protect(check func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the check panics: %v\n%s", v, debug.Stack())
		}
	}()
	return check()
}

// end ends all processes, and closes what the case owns.
func (c *Case) end() {
	c.mu.Lock()
	c.ended = true
	owned, processes := c.owned, c.processes
	c.owned = nil
	c.mu.Unlock()
	for _, closer := range slices.Backward(owned) {
		_ = closer.Close() // the other side may have closed it
	}
	for _, p := range slices.Backward(processes) {
		p.Kill()
	}
}

// release waits for the processes, and removes the directory.
func (c *Case) release(result *Result) {
	var errs []error
	for _, p := range c.processes {
		errs = append(errs, p.release())
	}
	errs = append(errs, os.RemoveAll(c.Dir))
	if err := errors.Join(errs...); err != nil && result.State == Pass {
		result.set(err)
	}
}

// Processes returns the processes that the check has started.
func (c *Case) Processes() []*Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.processes)
}

// maxOutput is how much of what processes printed is part of a result, in lines.
const maxOutput = 12

// maxLine is how much of each line is part of a result, in bytes.
const maxLine = 300

// output returns the last lines that the processes have printed.
func (c *Case) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for _, p := range c.processes {
		lines = append(lines, slices.Collect(strings.Lines(string(p.Stderr.Bytes())))...)
	}
	lines = lines[max(0, len(lines)-maxOutput):]
	for i, line := range lines {
		if len(line) > maxLine {
			lines[i] = line[:maxLine] + "...\n"
		}
	}
	return strings.TrimRight(strings.Join(lines, ""), "\n")
}
