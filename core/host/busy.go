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

// A program that some process has open for writing cannot be executed (ETXTBSY, "text
// file busy"). The process that wrote the program may have closed it long ago: another
// goroutine of it may have started a program meanwhile, and the new process has all
// open files until it executes. So the start is tried again for a while.
const (
	// busyTimeout bounds the attempts: long enough for the end of a write, short
	// enough to learn that it does not end.
	busyTimeout = 2 * time.Second
	// minBusyPause and maxBusyPause are the pauses between them. Most take the
	// shortest: a new process executes within a millisecond.
	minBusyPause = time.Millisecond
	maxBusyPause = 50 * time.Millisecond
)

// startWhenFree calls start with cmd, and again with a copy of it as long as the program
// is open for writing.
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
