//go:build unix

// Package e2e_test runs hosts and plugins as the processes that they are: the
// tests are the host, and the programs of package peer are the plugins.
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/peer"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/transport/unix"
)

// hang is the time after which a test that waits for something says that it
// never came. Nothing is ever expected to take this long.
const hang = time.Minute

// binDir has the programs of package peer; set by TestMain.
var binDir string

// underTest is the environment variable that all processes inherit from the
// tests. A program of another name than package peer has must not run the tests:
// they would start it again.
const underTest = "E2E_UNDER_TEST" // the framework removes names that begin with PLUGWIRE_

func TestMain(m *testing.M) {
	peer.Main(filepath.Base(os.Args[0]))
	if os.Getenv(underTest) != "" {
		fmt.Fprintln(os.Stderr, "there is no program", os.Args[0])
		os.Exit(1)
	}
	scratch, err := os.MkdirTemp("", "e2e-") // short: a socket's path has to fit behind it
	if err == nil {
		err = prepare(scratch)
	}
	if err == nil {
		err = flag.Set("test.parallel", "6") // most tests wait, for a time that is to pass, most of theirs
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := cleanUp(scratch); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// prepare gives the binary of the tests the names of the programs that it is,
// and gives this process, and so all plugins, a directory for temporary files of
// their own, in which nothing may be left.
func prepare(scratch string) error {
	binDir = filepath.Join(scratch, "bin")
	tmp := filepath.Join(scratch, "tmp")
	for _, dir := range []string{binDir, tmp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	// A plugin that runs as another user has to get at its binary, and at its
	// socket.
	if err := os.Chmod(scratch, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var first string
	for _, name := range peer.Names() {
		path := filepath.Join(binDir, name)
		if first != "" {
			err = os.Link(first, path)
		} else {
			first, err = path, copyProgram(self, path)
		}
		if err != nil {
			return err
		}
	}
	if err := os.Unsetenv("XDG_RUNTIME_DIR"); err != nil { // it would be preferred
		return err
	}
	// A program with the race detector sleeps for a second before it exits,
	// unless it is told not to.
	return errors.Join(os.Setenv(underTest, scratch), os.Setenv("TMPDIR", tmp), os.Setenv("GORACE", "atexit_sleep_ms=0"))
}

// cleanUp removes what prepare made and returns an error if the tests have left
// something in it. Of a host that was killed an empty directory may stay.
func cleanUp(scratch string) error {
	left, err := filepath.Glob(filepath.Join(scratch, "tmp", "plug*", "*"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("the tests left behind: %s", strings.Join(left, ", "))
	}
	return nil
}

// copyProgram copies a program. A link would not do: the binary can be on
// another file system, and its directory closed to other users.
func copyProgram(from, to string) error {
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

// command returns the program of that name, to be launched.
func command(name string, args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(binDir, name), args...)
}

func echoPlugin() *exec.Cmd { return command("echo-plugin") }

// onGoPlugin is a plugin that is built on go-plugin.
func onGoPlugin() *exec.Cmd { return command("goplugin-peer", "serve") }

// options returns what every host here needs, and opts after it.
func options(tb testing.TB, opts ...host.Option) []host.Option {
	tb.Helper()
	return append([]host.Option{
		host.WithProtocols(echopb.EchoProtocol),
		host.WithTransports(unix.New()),
		host.WithLogger(testLogger(tb)),
	}, opts...)
}

// launch starts cmd, and when the test ends stops it, in good order if it is
// still there, and checks that nothing is left of it. A trace among opts
// replaces the one by which launch knows of the plugin's directory.
func launch(tb testing.TB, cmd *exec.Cmd, opts ...host.Option) *host.Plugin {
	tb.Helper()
	var dir string
	trace := &host.Trace{ProcessStart: func(e host.ProcessStartEvent) { dir = e.PrivateDir }}
	p, err := host.Launch(testContext(tb), cmd, options(tb, append([]host.Option{host.WithTrace(trace)}, opts...)...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		alive := !isClosed(p.Done())
		if err := p.Close(); err != nil && alive {
			tb.Errorf("Close: %v", err)
		}
		assertGone(tb, p.Info().PID, dir)
	})
	return p
}

func socketDir(cmd *exec.Cmd) string {
	for _, variable := range cmd.Env {
		if dir, ok := strings.CutPrefix(variable, negotiation.EnvSocketDir+"="); ok {
			return dir
		}
	}
	return ""
}

// assertGone checks that neither the process, nor its group, nor its directory
// is left.
func assertGone(tb testing.TB, pid int, dir string) {
	tb.Helper()
	if pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		tb.Errorf("process %d is left", pid)
	}
	// Others of the group were killed, but are not ours to wait for: whoever
	// adopted them takes a moment.
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); pid != 0 && !errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH); <-poll.C {
		if time.Now().After(deadline) {
			tb.Fatalf("process group %d is left", pid)
		}
	}
	if _, err := os.Lstat(dir); dir != "" && !os.IsNotExist(err) {
		tb.Errorf("directory %s is left: %v", dir, err)
	}
}

// testContext ends with the test, or when the test hangs.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), hang)
	tb.Cleanup(cancel)
	return ctx
}

// waitFor waits until ch is closed or yields.
func waitFor[T any](tb testing.TB, what string, ch <-chan T) (value T) {
	tb.Helper()
	select {
	case value = <-ch:
	case <-time.After(hang):
		tb.Fatalf("%s: nothing after %v", what, hang)
	}
	return value
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// assertSays checks that a message has all that a person needs.
func assertSays(tb testing.TB, message string, words ...string) {
	tb.Helper()
	for _, word := range words {
		if !strings.Contains(message, word) {
			tb.Errorf("the message lacks %q:\n%s", word, message)
		}
	}
}

func atoi(tb testing.TB, s string) int {
	tb.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
