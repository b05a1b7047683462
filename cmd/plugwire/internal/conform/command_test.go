package conform

import (
	"context"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// runCommand runs the command with a suite of one rule, and returns its error.
func runCommand(ctx context.Context, t *testing.T, check func(context.Context, *Case) error, args ...string) error {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := New(output.New(null, null), &Suite{Kind: "plugin", Rules: []Rule{{Section: "protocol 1", Name: "one", Title: "One.", Check: check}}})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"plugin"}, args...))
	return cmd.ExecuteContext(ctx)
}

// TestCommandLine checks that a wrong command line is refused before the first check.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--parallel", "0", "--", self},
		{"--junit", filepath.Join(dir, "none", "report.xml"), "--", self},
		{"--dir", filepath.Join(dir, "none"), "--", self},
		{"--dir", self, "--", self},
	} {
		err := runCommand(t.Context(), t, func(context.Context, *Case) error {
			t.Errorf("%q: the check is made", args)
			return nil
		}, args...)
		if wrong, ok := errors.AsType[*output.Error](err); !ok || wrong.Code != output.ExitUsage {
			t.Errorf("%q: %v, want exit code %d", args, err, output.ExitUsage)
		}
	}
}

// TestJUnitFile checks that a report is written, and that no empty file is left of a run that
// was interrupted.
func TestJUnitFile(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "report.xml")
	if err := runCommand(t.Context(), t, func(context.Context, *Case) error { return nil }, "--junit", name, "--", self); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var suites junitSuites
	if err := xml.Unmarshal(text, &suites); err != nil || suites.Suite.Tests != 1 {
		t.Errorf("the report is %q, %v", text, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = runCommand(ctx, t, func(context.Context, *Case) error {
		cancel()
		return nil
	}, "--junit", name, "--", self)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the interrupted run ends with %v", err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a report is left of the interrupted run: %v", err)
	}
}

// TestRelativeProgram checks that a relative path names the same program whatever its working
// directory is.
func TestRelativeProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, self)
	if err != nil {
		t.Skipf("the program is on another volume: %v", err)
	}
	err = runCommand(t.Context(), t, func(_ context.Context, c *Case) error {
		if !filepath.IsAbs(c.Command[0]) {
			t.Errorf("the program is %s", c.Command[0])
		}
		return nil
	}, "--dir", t.TempDir(), "--", relative)
	if err != nil {
		t.Error(err)
	}
}
