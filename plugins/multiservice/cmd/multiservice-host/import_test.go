package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// patience bounds a wait for what should happen at once.
const patience = 30 * time.Second

// A waiting is a host that imports and waits for the next line of its standard
// input, which does not come.
type waiting struct {
	cmd    *exec.Cmd
	stdin  io.Writer
	stdout *bufio.Reader
	stderr strings.Builder
	dir    string
	plugin int // its process
}

func startWaiting(t *testing.T) *waiting {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	w := &waiting{dir: filepath.Join(t.TempDir(), "db")}
	w.cmd = exec.CommandContext(ctx, clitest.Path("multiservice-host"), "-dir", w.dir, "-json", "import", "-as", "ann", "-")
	w.cmd.Stderr = &w.stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.stdin = stdin
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.stdout = bufio.NewReader(stdout)
	var c hostcli.Connection
	w.next(t, &c)
	w.plugin = c.PID
	return w
}

func (w *waiting) next(t *testing.T, object any) {
	t.Helper()
	text, err := w.stdout.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%q, %v; stderr: %s", text, err, w.stderr.String())
	}
	if err := json.Unmarshal(text, object); err != nil {
		t.Fatal(err)
	}
}

// wantFailure checks that the host ends with an error that begins so, and leaves
// nothing.
func (w *waiting) wantFailure(t *testing.T, message string, line int) {
	t.Helper()
	var f hostcli.Failure
	w.next(t, &f)
	if f.Type != "error" || !strings.HasPrefix(f.Message, message) || f.Line != line {
		t.Errorf("last object %+v, want an error of line %d that begins with %q", f, line, message)
	}
	err := w.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1; stderr: %s", err, w.stderr.String())
	}
	if err := clitest.Exited(w.plugin); err != nil {
		t.Error(err)
	}
}

func TestSignalWhileInputIsAwaited(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send to a process")
	}
	w := startWaiting(t)
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	w.wantFailure(t, "interrupt signal received", 0)
}

func TestPluginDiesWhileInputIsAwaited(t *testing.T) {
	w := startWaiting(t)
	p, err := os.FindProcess(w.plugin)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	w.wantFailure(t, fmt.Sprintf("plugin %s -dir %s (process %d) ended (", clitest.Path("multiservice-plugin"), w.dir, w.plugin), 0)
}

// A line that the plugin refuses ends the import without the next one.
func TestLineFailsWhileInputIsAwaited(t *testing.T) {
	w := startWaiting(t)
	if _, err := io.WriteString(w.stdin, "key\tvalue\n"); err != nil {
		t.Fatal(err)
	}
	w.wantFailure(t, "the caller ann is no user", 1)
}

// A line that cannot be stored anyway is not read to its end.
func TestImportOfALongLine(t *testing.T) {
	input := strings.NewReader("key\t" + strings.Repeat("x", maxLine))
	n, err := importLines(t.Context(), nil, "ann", input)
	if want := "line 1: the line is longer than 2097152 bytes"; err == nil || err.Error() != want || n != 0 {
		t.Errorf("%d lines, error %v, want %s", n, err, want)
	}
}
