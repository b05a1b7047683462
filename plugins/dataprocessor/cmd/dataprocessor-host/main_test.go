package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// The tests in this file use the real commands, built as a user builds them.

func TestMain(m *testing.M) { clitest.Main(m) }

func TestScripts(t *testing.T) {
	clitest.Scripts{
		Host: "dataprocessor-host",
		Objects: map[string]any{
			"result": new(result),
			"stored": new(storedResult),
			"status": new(pluginStatus),
		},
		Commands: map[string]func(*testscript.TestScript, bool, []string){"numbers": writeNumbers},
	}.Run(t)
}

// writeNumbers is "numbers FROM TO PREFIX FILE": it writes a line of PREFIX and
// number for each.
func writeNumbers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: numbers FROM TO PREFIX FILE")
	}
	from, err := strconv.Atoi(args[0])
	ts.Check(err)
	to, err := strconv.Atoi(args[1])
	ts.Check(err)
	var text strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&text, "%s%d\n", args[2], i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(text.String()), 0o600))
}

// exitCode returns the exit code in the error of a finished command.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// start starts a host that processes lines, and sends it one line.
func start(t *testing.T, args ...string) *clitest.Host {
	t.Helper()
	h := clitest.Start(t, "dataprocessor-host", append([]string{"process"}, args...)...)
	h.Write(t, "a\n")
	var r result
	h.Next(t, &r)
	if r.Type != "result" || r.Line != 1 {
		t.Fatalf("first object: %+v", r)
	}
	return h
}

func TestSignalEndsHostAndPlugin(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send to a process")
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			h := start(t, "-")
			h.Signal(t, signal)
			want := hostcli.Failure{Type: "error", Message: signal.String() + " signal received"}
			if diff := cmp.Diff(want, h.WantFailure(t)); diff != "" {
				t.Errorf("last object (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPluginDies(t *testing.T) { start(t, "-").KillPlugin(t) }

// A line may be much longer than one read.
func TestLongLine(t *testing.T) {
	input := strings.Repeat("0123456789abcdé ", 120<<10) + "\nb\n" // about 2 MB
	cmd := exec.CommandContext(t.Context(), clitest.Path("dataprocessor-host"), "process", "-option", "uppercase=true", "-")
	cmd.Stdin = strings.NewReader(input)
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(output) != strings.ToUpper(input) {
		t.Errorf("the result differs: %d bytes, want %d", len(output), len(input))
	}
}

// A result is there as soon as its line is, although more may follow.
func TestResultsAreNotHeldBack(t *testing.T) {
	h := start(t, "-option", "uppercase=true", "-")
	for _, text := range []string{"b", "c"} {
		h.Write(t, text+"\n")
		var r result
		if h.Next(t, &r); r.Result != strings.ToUpper(text) {
			t.Errorf("result %+v", r)
		}
	}
	if err := h.Stdin.Close(); err != nil {
		t.Fatal(err)
	}
	var last pluginStatus
	if h.Next(t, &last); last.Type != "status" {
		t.Errorf("last object: %+v", last)
	}
	h.WantSuccess(t)
}

func TestStdoutClosedEarly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a broken pipe has no errno of its own on Windows")
	}
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), clitest.Path("dataprocessor-host"), "-json", "process", "-")
	cmd.Stdin = strings.NewReader(strings.Repeat("x\n", 100_000)) // more than the pipe holds
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	first, err := bufio.NewReaderSize(stdout, 16).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var c hostcli.Connection
	if err := json.Unmarshal([]byte(first), &c); err != nil {
		t.Fatal(err)
	}
	if err := stdout.Close(); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != 1 || stderr.Len() > 0 {
		t.Errorf("exit code %d, want %d; stderr: %s", code, 1, stderr.String())
	}
	if err := clitest.Exited(c.PID); err != nil {
		t.Error(err)
	}
}
