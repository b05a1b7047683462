package hello_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build builds both commands, as a user does, and returns their directory.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator), "./cmd/...")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, output)
	}
	return dir
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
	dir := build(t)
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
