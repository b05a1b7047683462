package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// Text that is not UTF-8 cannot be sent. The host refuses it, because the host can
// name the flag or argument.
func TestTextsThatAreNotUTF8(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("arguments are UTF-16 there")
	}
	dir := filepath.Join(t.TempDir(), "db")
	run := func(stdin string, args ...string) (code int, stderr string) {
		cmd := exec.CommandContext(t.Context(), clitest.Path("multiservice-host"), append([]string{"-dir", dir}, args...)...)
		var text strings.Builder
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &text
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return exit.ExitCode(), text.String()
		}
		return 0, text.String()
	}
	for _, args := range [][]string{
		{"create-user", "\xff"},
		{"create-user", "-as", "\xff", "bob"},
		{"get-user", "\xff"},
		{"store", "-as", "ann", "\xff", "value"},
		{"import", "-as", "\xff", "-"},
		{"query", "-as", "ann", "\xff"},
		{"query", "-as", "ann", "-page-token", "\xff"},
	} {
		if code, stderr := run("", args...); code != 2 || !strings.Contains(stderr, `"\xff" is not UTF-8`) {
			t.Errorf("%q: exit code %d, stderr %q", args, code, stderr)
		}
	}
	if code, stderr := run("", "create-user", "-role", "admin", "ann"); code != 0 {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	// A value may be anything; a key is text.
	if code, stderr := run("key\t\xff\n", "import", "-as", "ann", "-"); code != 0 {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	want := "multiservice-host: line 2: \"\\xff\" is not UTF-8\n"
	if code, stderr := run("key\tvalue\n\xff\tvalue\n", "import", "-as", "ann", "-"); code != 1 || stderr != want {
		t.Errorf("exit code %d, stderr %q, want 1 and %q", code, stderr, want)
	}
}
