package plugin_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/plugwire/plugwire/compat/goplugin/runner"
)

// commandContext is the command with a context.
func commandContext(ctx context.Context, cmd *exec.Cmd) *exec.Cmd {
	with := exec.CommandContext(ctx, cmd.Path)
	with.Env = cmd.Env
	return with
}

func groupOfThis() string { return strconv.Itoa(os.Getgid()) }

func shell(text string) *exec.Cmd { return exec.Command("/bin/sh", "-c", text) }

func checkIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

func contains(env []string, variable string) bool { return slices.Contains(env, variable) }

// pause is between two looks at a process.
func pause(ctx context.Context) error {
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cannotFind is a ReattachFunc.
func cannotFind() (runner.AttachedRunner, error) { return nil, errors.New("cannot find it") }
