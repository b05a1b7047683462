package e2e_test

import (
	"errors"
	"os/exec"
	"regexp"
	"testing"
)

// TestHostThatReapsAll runs a host that waits for all children, like the init
// of a container: it collects the status of its plugins.
func TestHostThatReapsAll(t *testing.T) {
	t.Parallel()
	t.Run("an orderly end stays one", func(t *testing.T) {
		t.Parallel()
		place := newPlace(t)
		for range 5 { // the reaper is not always the first
			cmd := command("life-host", "-reaper", "once", lifePlugin(t).Path)
			cmd.Env = place.env()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if left := place.left(); left != "" {
				t.Error(left)
			}
		}
	})
	t.Run("a crash stays one", func(t *testing.T) {
		t.Parallel()
		place := newPlace(t)
		cmd := command("life-host", "-reaper", "-how", "exit", "hold", lifePlugin(t).Path)
		cmd.Env = place.env()
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			t.Fatalf("%v\n%s", err, out)
		}
		if !regexp.MustCompile(`exit code 7|exit status unknown`).Match(out) {
			t.Errorf("the host says:\n%s", out)
		}
	})
}
