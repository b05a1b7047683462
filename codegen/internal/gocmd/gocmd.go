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

// grace is how long the go command may take to end after an interrupt. In this time
// it waits for its programs and removes its temporary files.
const grace = 5 * time.Second

// Command returns the go command with arguments. It runs in dir. The end of ctx
// interrupts the command instead of killing it, because a killed go command leaves
// temporary files and running programs behind.
func Command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the arguments are this program's own
	cmd.Dir = dir
	cmd.Env = os.Environ()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	return cmd
}

// Explain adds a remedy to an error of the go command, if there is a known one.
func Explain(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: install Go, or add the directory of the go command to PATH", err)
	}
	return err
}
