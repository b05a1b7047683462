package hello_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dir is the directory of the commands; set by TestMain.
var dir string

// TestMain builds both commands, so that compiling takes no time from a test's
// limit.
func TestMain(m *testing.M) {
	var err error
	code := 1
	if dir, err = os.MkdirTemp("", "hello-"); err == nil {
		if err = build(); err == nil {
			code = m.Run()
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build builds the commands with the settings of go tool mage build, to share its build
// cache.
func build() error {
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, output)
	}
	return nil
}

// run runs a command and returns its exit code and output.
func run(t *testing.T, path string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestTwoProcesses(t *testing.T) {
	host, plugin := filepath.Join(dir, "hello-host"), filepath.Join(dir, "hello-plugin")

	t.Run("plugin beside the host", func(t *testing.T) {
		if code, stdout, stderr := run(t, host); code != 0 || stdout != "Hello, world!\n" || stderr != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
	t.Run("plugin as argument", func(t *testing.T) {
		if code, stdout, stderr := run(t, host, plugin); code != 0 || stdout != "Hello, world!\n" || stderr != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
	t.Run("no such plugin", func(t *testing.T) {
		absent := filepath.Join(dir, "absent")
		if code, stdout, stderr := run(t, host, absent); code != 1 || stdout != "" || !strings.Contains(stderr, absent) {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
	t.Run("plugin by hand", func(t *testing.T) {
		if code, stdout, stderr := run(t, plugin); code != 1 || stdout != "" || strings.Count(stderr, "\n") != 2 {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
}
