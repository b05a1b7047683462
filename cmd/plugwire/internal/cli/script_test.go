package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// plugins are the directories of the programs that the scripts use, from here.
var plugins = []string{
	"../trial/trial-plugin",
	"../trial/trial-host",
	"../../../../plugins/hello/cmd/hello-plugin",
	"../../../../bench/internal/plugin/goplugin", // a plugin on go-plugin
	"../../../../interop/terraform",              // a provider on terraform-plugin-go
}

// hang is how long a test waits for what takes milliseconds.
const hang = time.Minute

// scratch is the directory for what all scripts share; set by TestMain.
var scratch string

func TestMain(m *testing.M) {
	testscript.Main(preparedRun{m}, map[string]func(){"plugwire": func() { os.Exit(Main(os.Args[1:])) }})
}

// preparedRun builds the plugins before the tests run. Processes of the command itself, which
// are the same program, need none.
type preparedRun struct{ m *testing.M }

// Run implements what testscript.Main wants.
func (p preparedRun) Run() int {
	var err error
	if scratch, err = os.MkdirTemp("", "pw-"); err == nil { // short, because the path of a socket is limited
		err = build()
	}
	code := 1
	if err == nil {
		code = p.m.Run()
	}
	if err = errors.Join(err, os.RemoveAll(scratch)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func build() error {
	bin := filepath.Join(scratch, "bin") + string(filepath.Separator)
	return errors.Join(
		goBuild(exec.Command("go", append([]string{"build", "-o", bin}, plugins...)...)),
		goBuild(inDir(undescribed, exec.Command("go", "build", "-ldflags=-w", "-o", bin+"undescribed"+exeSuffix()), "GOWORK=off")),
		os.Mkdir(filepath.Join(scratch, "t"), 0o700),
	)
}

// undescribed is the directory of a plugin on go-plugin whose service no .proto file
// describes. It is a module of its own, outside of the workspace.
const undescribed = "../../../../interop/goplugin/v1.8.0"

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

func inDir(dir string, cmd *exec.Cmd, env ...string) *exec.Cmd {
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	return cmd
}

func goBuild(cmd *exec.Cmd) error {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0") // as the other targets build, to share the build cache
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}

// TestScripts runs the scripts in testdata/script.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Join(scratch, "bin")+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("BIN", filepath.Join(scratch, "bin"))
			e.Setenv("TMPDIR", filepath.Join(scratch, "t"))
			e.Setenv("XDG_RUNTIME_DIR", "")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"waitfor": waitFor,
			"listen":  listen,
		},
		Condition: func(name string) (bool, error) {
			if name == "mounts" {
				return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "-o", "noexec", "none", scratch).Run() == nil, nil
			}
			return false, fmt.Errorf("condition %s is not known", name)
		},
	})
}

// listen listens on a port of 127.0.0.1 until the script ends, and puts it into a
// variable: listen NAME.
func listen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen NAME")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() })
	ts.Setenv(args[0], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
}

// waitFor waits until a file has a text: waitfor FILE TEXT.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE TEXT")
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); !strings.Contains(ts.ReadFile(args[0]), args[1]); <-poll.C {
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no %q after %v: %s", args[0], args[1], hang, ts.ReadFile(args[0]))
		}
	}
}
