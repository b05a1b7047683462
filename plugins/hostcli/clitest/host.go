package clitest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// patience is how long a [Host] may run: far longer than it needs, unless it
// hangs.
const patience = time.Minute

// A Host is a running host with its plugin. It prints JSON objects, and its
// standard input comes from the test.
type Host struct {
	Stdin  io.WriteCloser
	Plugin int // its process

	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr strings.Builder
}

// Start starts a host, with -json and the arguments, and waits for its plugin.
// It is killed when the test ends, or after a minute.
func Start(t *testing.T, host string, args ...string) *Host {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	h := &Host{cmd: exec.CommandContext(ctx, Path(host), append([]string{"-json"}, args...)...)} //nolint:gosec // one that Main has built
	h.cmd.Stderr = &h.stderr
	var err error
	if h.Stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.stdout = bufio.NewReader(stdout)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var c hostcli.Connection
	h.Next(t, &c)
	h.Plugin = c.PID
	return h
}

// Write writes text to the host's standard input.
func (h *Host) Write(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(h.Stdin, text); err != nil {
		t.Fatal(err)
	}
}

// Next decodes the next object that the host prints.
func (h *Host) Next(t *testing.T, object any) {
	t.Helper()
	text, err := h.stdout.ReadBytes('\n')
	if err != nil {
		_ = h.cmd.Wait() // afterwards stderr is complete
		t.Fatalf("stdout ended with %q: %v; stderr: %s", text, err, h.stderr.String())
	}
	if err := json.Unmarshal(text, object); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// Signal sends the host a signal.
func (h *Host) Signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := h.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// WantSuccess checks that the host succeeds, prints nothing more, and leaves no
// process behind.
func (h *Host) WantSuccess(t *testing.T) {
	t.Helper()
	if code := h.wait(t); code != 0 || h.stderr.Len() > 0 {
		t.Errorf("exit code %d, want 0 and no stderr: %s", code, h.stderr.String())
	}
}

// WantFailure checks that the host fails with an error, prints the same text on
// stderr, and leaves no process behind. It returns the error. The host's standard
// input stays open.
func (h *Host) WantFailure(t *testing.T) hostcli.Failure {
	t.Helper()
	var f hostcli.Failure
	h.Next(t, &f)
	if code := h.wait(t); code != 1 || !strings.Contains(h.stderr.String(), f.Message) {
		t.Errorf("exit code %d, want 1 and %q in stderr: %s", code, f.Message, h.stderr.String())
	}
	return f
}

// wait checks that the host prints nothing more and that no process is left. It
// returns the exit code.
func (h *Host) wait(t *testing.T) int {
	t.Helper()
	rest, err := io.ReadAll(h.stdout)
	if len(rest) > 0 || err != nil {
		t.Errorf("at the end of stdout: %q, %v", rest, err)
	}
	err = h.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Error(err)
	}
	if err := Exited(h.Plugin); err != nil {
		t.Error(err)
	}
	return h.cmd.ProcessState.ExitCode()
}

// KillPlugin kills the plugin, and checks that the host ends and reports it,
// even if it waits for standard input.
func (h *Host) KillPlugin(t *testing.T) {
	t.Helper()
	p, err := os.FindProcess(h.Plugin)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Release() // on Linux a process has a descriptor
	f := h.WantFailure(t)
	want := fmt.Sprintf("(process %d) ended (", h.Plugin)
	if f.Type != "error" || !strings.Contains(f.Message, want) || f.Line != 0 || f.Code != "" {
		t.Errorf("last object %+v, want only a message with %q", f, want)
	}
}
