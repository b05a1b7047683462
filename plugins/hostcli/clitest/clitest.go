// Package clitest tests the commands of the samples like a user: it builds them
// and runs them as processes.
package clitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// usageExit is the exit code for wrong usage.
const usageExit = 2

// bin is the directory that holds the commands; set by Main.
var bin string

// Main is for TestMain of a package in cmd: it builds all commands there, runs the
// tests, and checks that no goroutine is left.
func Main(m *testing.M) {
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
	if bin, err = os.MkdirTemp("", "cli-"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../...") //nolint:gosec // a new directory
	build.Env = append(os.Environ(), "CGO_ENABLED=0")                                    // same settings as go tool mage build, to share its build cache
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", build, err, output)
	}
	return nil
}

// Path returns the path of a command that Main has built.
func Path(command string) string { return filepath.Join(bin, command) }

// Scripts runs the script tests of one host, in testdata/script.
type Scripts struct {
	// Host is the host's name, for usage-error.
	Host string
	// Objects are pointers to the types of the JSON objects that the host prints,
	// by the objects' type; the objects of all hosts are known.
	Objects map[string]any
	// Commands are added to the commands that Run provides.
	Commands map[string]func(ts *testscript.TestScript, neg bool, args []string)
}

// Run runs the scripts, which have the commands in their path. Beside the
// commands of testscript there are:
//
//	json TYPE...                   the last stdout is JSON objects of these types; TYPE*N is N of them
//	exited                         the plugin that the last stdout's connection describes is gone
//	usage-error PATTERN [ARG...]   the host, called with the arguments, says PATTERN and exits with 2
func (s Scripts) Run(t *testing.T) {
	t.Helper()
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"json":        s.checkJSON,
		"exited":      checkExited,
		"usage-error": s.checkUsageError,
	}
	maps.Copy(commands, s.Commands)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("BIN", bin)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: commands,
	})
}

func (s Scripts) checkJSON(ts *testscript.TestScript, neg bool, args []string) {
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
		want = append(want, slices.Repeat([]string{name}, n)...)
	}
	var got []string
	for text := range strings.Lines(ts.ReadFile("stdout")) {
		name, err := s.decode(text)
		ts.Check(err)
		got = append(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		ts.Fatalf("types (-want +got):\n%s", diff)
	}
}

// decode returns the type of the JSON object in text, a line with its end. All its
// fields must be known for that type.
func (s Scripts) decode(text string) (string, error) {
	var head struct{ Type string }
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return "", fmt.Errorf("%w in %q", err, text)
	}
	object := s.object(head.Type)
	if object == nil {
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

func (s Scripts) object(name string) any {
	switch name {
	case "connection":
		return new(hostcli.Connection)
	case "latency":
		return new(hostcli.Latency)
	case "error":
		return new(hostcli.Failure)
	default:
		return s.Objects[name]
	}
}

func checkExited(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: exited")
	}
	first, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	var c hostcli.Connection
	ts.Check(json.Unmarshal([]byte(first), &c))
	ts.Check(Exited(c.PID))
}

func (s Scripts) checkUsageError(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: usage-error PATTERN [ARG...]")
	}
	err := ts.Exec(s.Host, args[1:]...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != usageExit {
		ts.Fatalf("%v, want exit code %d", err, usageExit)
	}
	if stdout := ts.ReadFile("stdout"); stdout != "" {
		ts.Fatalf("stdout: %s", stdout)
	}
	if stderr := ts.ReadFile("stderr"); !strings.Contains(stderr, args[0]) {
		ts.Fatalf("stderr lacks %q: %s", args[0], stderr)
	}
}

// Exited returns an error if the process is still running.
func Exited(pid int) error {
	if pid <= 0 {
		return fmt.Errorf("no process id: %d", pid)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil //nolint:nilerr // it is not there
	}
	gone := errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
	if err := p.Release(); err != nil { // on Linux a process has a descriptor
		return err
	}
	if !gone {
		return fmt.Errorf("the plugin, process %d, is still running", pid)
	}
	return nil
}
