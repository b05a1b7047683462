package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// The tests in this file use the real commands, built as a user builds them.

// bin is the directory that holds both commands.
var bin string

func TestMain(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(bin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

func build() (err error) {
	if bin, err = os.MkdirTemp("", "dataprocessor-test-"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../...")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", build, err, output)
	}
	return nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BIN", bin)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"json":        checkJSON,
			"numbers":     writeNumbers,
			"exited":      checkExited,
			"usage-error": checkUsageError,
		},
	})
}

// checkJSON is "json TYPE...": the last stdout consists of JSON objects, one a
// line, of these types. TYPE*N stands for N times TYPE.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("json cannot be negated")
	}
	var want []string
	for _, arg := range args {
		name, times, repeated := strings.Cut(arg, "*")
		n := 1
		if repeated {
			var err error
			n, err = strconv.Atoi(times)
			ts.Check(err)
		}
		for range n {
			want = append(want, name)
		}
	}
	var got []string
	for text := range strings.Lines(ts.ReadFile("stdout")) {
		name, err := decode(text)
		ts.Check(err)
		got = append(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("types (-want +got):\n%s", diff)
	}
}

// decode returns the type of the JSON object in text, whose fields must all be
// known for that type.
func decode(text string) (string, error) {
	var head struct{ Type string }
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return "", fmt.Errorf("%w in %q", err, text)
	}
	objects := map[string]any{
		"connection": new(connection),
		"result":     new(result),
		"stored":     new(storedResult),
		"status":     new(pluginStatus),
		"latency":    new(latency),
		"error":      new(failure),
	}
	object, ok := objects[head.Type]
	if !ok {
		return "", fmt.Errorf("unknown type in %q", text)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(object); err != nil {
		return "", fmt.Errorf("%w in %q", err, text)
	}
	if !strings.HasSuffix(text, "}\n") {
		return "", fmt.Errorf("no end of line after %q", text)
	}
	return head.Type, nil
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

// checkExited is "exited": the plugin that the connection object of the last
// stdout describes is no longer there.
func checkExited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: exited")
	}
	first, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	var c connection
	ts.Check(json.Unmarshal([]byte(first), &c))
	ts.Check(exited(c.PID))
}

// checkUsageError is "usage-error PATTERN [ARG...]": the host, called with the
// arguments, prints PATTERN on stderr, nothing on stdout, and exits with 2.
func checkUsageError(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: usage-error PATTERN [ARG...]")
	}
	err := ts.Exec("dataprocessor-host", args[1:]...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitUsage {
		ts.Fatalf("%v, want exit code %d", err, exitUsage)
	}
	if stdout := ts.ReadFile("stdout"); stdout != "" {
		ts.Fatalf("stdout: %s", stdout)
	}
	if stderr := ts.ReadFile("stderr"); !strings.Contains(stderr, args[0]) {
		ts.Fatalf("stderr lacks %q: %s", args[0], stderr)
	}
}

func exited(pid int) error {
	if pid <= 0 {
		return fmt.Errorf("no process id: %d", pid)
	}
	if p, err := os.FindProcess(pid); err == nil && !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return fmt.Errorf("the plugin, process %d, is still there", pid)
	}
	return nil
}

// exitCode returns the exit code in the error of a finished command.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return exitOK
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

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
	s := &session{cmd: exec.CommandContext(t.Context(), filepath.Join(bin, "dataprocessor-host"), args...)}
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
	var c connection
	if err := json.Unmarshal([]byte(s.next(t)), &c); err != nil {
		t.Fatal(err)
	}
	s.pid = c.PID
	if got, err := decode(s.next(t) + "\n"); got != "result" || err != nil {
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
			var f failure
			if err := json.Unmarshal([]byte(s.next(t)), &f); err != nil {
				t.Fatal(err)
			}
			want := signal.String() + " signal received"
			if diff := cmp.Diff(failure{Type: "error", Message: want}, f); diff != "" {
				t.Errorf("last object (-want +got):\n%s", diff)
			}
			if code := exitCode(t, s.cmd.Wait()); code != exitFailure {
				t.Errorf("exit code %d, want %d", code, exitFailure)
			}
			if got := s.stderr.String(); got != "dataprocessor-host: "+want+"\n" {
				t.Errorf("stderr: %s", got)
			}
			if err := exited(s.pid); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPluginDies(t *testing.T) {
	s := startSession(t, "-json", "process", "-")
	p, err := os.FindProcess(s.pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s.stdin, "b\n"); err != nil {
		t.Fatal(err)
	}
	var f failure
	if err := json.Unmarshal([]byte(s.next(t)), &f); err != nil {
		t.Fatal(err)
	}
	if f.Type != "error" || f.Code != "Unavailable" || f.Line != 2 {
		t.Errorf("last object %+v, want an Unavailable error of line 2", f)
	}
	if code := exitCode(t, s.cmd.Wait()); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
}

// A line may be much longer than what is read at a time.
func TestLongLine(t *testing.T) {
	input := strings.Repeat("0123456789abcdé ", 300<<10) + "\nb\n" // about 5 MiB
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "dataprocessor-host"), "process", "-option", "uppercase=true", "-")
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
	if got, err := decode(s.next(t) + "\n"); got != "status" || err != nil {
		t.Errorf("last object: %s, %v", got, err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := exited(s.pid); err != nil {
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
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "dataprocessor-host"), "-json", "process", "-")
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
	var c connection
	if err := json.Unmarshal([]byte(first), &c); err != nil {
		t.Fatal(err)
	}
	if err := stdout.Close(); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd.Wait()); code != exitFailure || stderr.Len() > 0 {
		t.Errorf("exit code %d, want %d; stderr: %s", code, exitFailure, stderr.String())
	}
	if err := exited(c.PID); err != nil {
		t.Error(err)
	}
}
