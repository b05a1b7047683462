package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/internal/process"
)

// The system does not execute a program that a process has open for writing (ETXTBSY,
// "text file busy"). The writer may have closed the program long ago. But if the writer
// started a process while the program was open, that process has the file open too, until
// it executes. So the host tries the start again for a while.
const (
	// busyTimeout bounds the attempts. It is long enough for the end of a write, and short
	// enough to report a write that does not end.
	busyTimeout = 2 * time.Second
	// minBusyPause and maxBusyPause are the pauses between attempts. The shortest is enough
	// for most: a new process executes within a millisecond.
	minBusyPause = time.Millisecond
	maxBusyPause = 50 * time.Millisecond
)

// startWhenFree calls start with cmd, and again with a copy of cmd while the program is
// open for writing.
func startWhenFree(ctx context.Context, cmd *exec.Cmd, start func(*exec.Cmd) (*process.Process, error)) (*process.Process, error) {
	template := exec.Cmd{
		Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir,
		Stdin: cmd.Stdin, ExtraFiles: cmd.ExtraFiles, SysProcAttr: cmd.SysProcAttr,
	}
	attempts, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for pause := minBusyPause; ; pause = min(2*pause, maxBusyPause) {
		p, err := start(cmd)
		if err == nil || !errors.Is(err, syscall.ETXTBSY) {
			return p, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-attempts.Done():
			timer.Stop()
			if why := because(ctx, nil); why != nil {
				err = fmt.Errorf("%w (%w)", err, why)
			}
			return nil, err
		}
		again := template
		cmd = &again
	}
}

// describeWriters says which processes have the program at path open for writing.
func describeWriters(path string) string {
	files := []string{path}
	if _, name := interpreter(path); name != "" {
		files = append(files, name)
	}
	for _, file := range files {
		if writers := process.Writers(file); len(writers) > 0 {
			has := "has"
			if len(writers) > 1 {
				has = "have"
			}
			return fmt.Sprintf("%s %s %s open for writing: start the plugin when the file is closed", strings.Join(writers, " and "), has, file)
		}
	}
	return "a process that is hidden from this one has the file open for writing: start the plugin when the file is closed"
}
