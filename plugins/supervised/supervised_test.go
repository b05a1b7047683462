package supervised_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// dir is the directory of the commands; set by TestMain.
var dir string

// TestMain builds both commands, so that compiling takes no time from a test's
// limit.
func TestMain(m *testing.M) {
	var err error
	code := 1
	if dir, err = os.MkdirTemp("", "supervised-"); err == nil {
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

// run runs the host and returns its exit code and output.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "supervised-host"), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestStepsUnderLoad(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "-duration", "400ms", "-callers", "8")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	// A kill may lose each call that is in flight. Nothing else loses a call.
	const some, none = `[ ]+[1-9]\d* calls  0 failed[ ]+\d+ lost in flight  worst gap .* ms\n`,
		`[ ]+[1-9]\d* calls  0 failed[ ]+0 lost in flight  worst gap .* ms\n`
	want := regexp.MustCompile(`^undisturbed` + none + `killed` + some + `swapped to version 2` + none + `swapped back` + none + `$`)
	if !want.MatchString(stdout) {
		t.Errorf("stdout:\n%s", stdout)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-callers", "0"}, {"-duration", "-1s"}, {"-unknown"}, {"argument"}} {
		if code, stdout, stderr := run(t, args...); code != 2 || stdout != "" || stderr == "" {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	if code, _, stderr := run(t, "-h"); code != 0 || stderr == "" {
		t.Errorf("-h: exit code %d, stderr %q", code, stderr)
	}
}
