// Package gocmd runs the go command. Begin with [Command].
package gocmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// grace is how long the go command may take to end when it is interrupted. It
// only waits for the programs that it runs, and removes its temporary files.
const grace = 5 * time.Second

// Command returns the go command with arguments, to be run in dir. When ctx ends
// it is interrupted and not killed, so that it leaves no temporary files and no
// program of its own behind.
func Command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // running it is the purpose
	cmd.Dir = dir
	cmd.Env = os.Environ()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	return cmd
}

// Explain adds to an error of a command what to do about it, if that is known.
func Explain(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: install Go, or add the directory of the go command to PATH", err)
	}
	return err
}
