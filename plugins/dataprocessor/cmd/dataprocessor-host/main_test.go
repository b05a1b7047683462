package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// The tests in this file use the real commands, built as a user builds them.

func TestMain(m *testing.M) { clitest.Main(m) }

var scripts = clitest.Scripts{
	Host: "dataprocessor-host",
	Objects: map[string]any{
		"result": new(result),
		"stored": new(storedResult),
		"status": new(pluginStatus),
	},
	Commands: map[string]func(*testscript.TestScript, bool, []string){"numbers": writeNumbers},
}

func TestScripts(t *testing.T) { scripts.Run(t) }

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

// patience bounds a wait for what should happen at once.
const patience = 30 * time.Second

// A session is a host that reads its input from the test.
type session struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	stderr bytes.Buffer
	pid    int // of the plugin
}

// startSession starts a host that processes lines, and has it process one.
func startSession(t *testing.T, args ...string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := &session{cmd: exec.CommandContext(ctx, clitest.Path("dataprocessor-host"), args...)}
	s.cmd.Stderr = &s.stderr
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stdin, s.stdout = stdin, bufio.NewScanner(stdout)
	if _, err := io.WriteString(stdin, "a\n"); err != nil {
		t.Fatal(err)
	}
	var c hostcli.Connection
	if err := json.Unmarshal([]byte(s.next(t)), &c); err != nil {
		t.Fatal(err)
	}
	s.pid = c.PID
	if got, err := scripts.Decode(s.next(t) + "\n"); got != "result" || err != nil {
		t.Fatalf("second object: %s, %v", got, err)
	}
	return s
}

func (s *session) next(t *testing.T) string {
	t.Helper()
	if !s.stdout.Scan() {
		t.Fatalf("stdout ended: %v; stderr: %s", s.stdout.Err(), s.stderr.String())
	}
	return s.stdout.Text()
}

func TestSignalEndsHostAndPlugin(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send to a process")
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			s := startSession(t, "-json", "process", "-")
			if err := s.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			var f hostcli.Failure
			if err := json.Unmarshal([]byte(s.next(t)), &f); err != nil {
				t.Fatal(err)
			}
			want := signal.String() + " signal received"
			if diff := cmp.Diff(hostcli.Failure{Type: "error", Message: want}, f); diff != "" {
				t.Errorf("last object (-want +got):\n%s", diff)
			}
			if code := exitCode(t, s.cmd.Wait()); code != 1 {
				t.Errorf("exit code %d, want %d", code, 1)
			}
			if got := s.stderr.String(); got != "dataprocessor-host: "+want+"\n" {
				t.Errorf("stderr: %s", got)
			}
			if err := clitest.Exited(s.pid); err != nil {
				t.Error(err)
			}
		})
	}
}

// A host that waits for the next line does not wait for it to hear that its
// plugin has ended.
func TestPluginDies(t *testing.T) {
	s := startSession(t, "-json", "process", "-")
	p, err := os.FindProcess(s.pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	var f hostcli.Failure
	if err := json.Unmarshal([]byte(s.next(t)), &f); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("plugin %s (process %d) ended (", clitest.Path("dataprocessor-plugin"), s.pid)
	if !strings.HasPrefix(f.Message, want) || f.Line != 0 {
		t.Errorf("last object %+v, want an error that begins with %q", f, want)
	}
	if code := exitCode(t, s.cmd.Wait()); code != 1 {
		t.Errorf("exit code %d, want %d", code, 1)
	}
	if got, want := s.stderr.String(), "dataprocessor-host: "+f.Message+"\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

// A line may be much longer than what is read at a time.
func TestLongLine(t *testing.T) {
	input := strings.Repeat("0123456789abcdé ", 300<<10) + "\nb\n" // about 5 MiB
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
	s := startSession(t, "-json", "process", "-option", "uppercase=true", "-")
	for _, text := range []string{"b", "c"} {
		if _, err := io.WriteString(s.stdin, text+"\n"); err != nil {
			t.Fatal(err)
		}
		var r result
		if err := json.Unmarshal([]byte(s.next(t)), &r); err != nil || r.Result != strings.ToUpper(text) {
			t.Errorf("result %+v, %v", r, err)
		}
	}
	if err := s.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := scripts.Decode(s.next(t) + "\n"); got != "status" || err != nil {
		t.Errorf("last object: %s, %v", got, err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := clitest.Exited(s.pid); err != nil {
		t.Error(err)
	}
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
