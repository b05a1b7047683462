//go:build unix

// Package e2e_test runs hosts and plugins as real processes: the tests are the
// host, and the programs of package peer are the plugins.
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
	"github.com/plugwire/plugwire/transport/unix"
)

// hang is the time after which a waiting test gives up. Nothing is expected to
// take this long.
const hang = time.Minute

// binDir has the programs of package peer; set by TestMain.
var binDir string

// underTest is the environment variable that all processes inherit from the
// tests. A program whose name is not in package peer must not run the tests,
// because they would start it again.
const underTest = "E2E_UNDER_TEST" // the framework removes names that begin with PLUGWIRE_

func TestMain(m *testing.M) {
	peer.Main(filepath.Base(os.Args[0]))
	if os.Getenv(underTest) != "" {
		fmt.Fprintln(os.Stderr, "there is no program", os.Args[0])
		os.Exit(1)
	}
	scratch, err := os.MkdirTemp("", "e2e-") // short, because the path of a socket is limited
	if err == nil {
		err = prepare(scratch)
	}
	if err == nil {
		err = flag.Set("test.parallel", "6") // most tests spend most of their time waiting
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

// prepare makes copies of the tests' binary under the names of its programs. It
// also makes a directory for the temporary files of this process and all
// plugins, in which nothing may be left.
func prepare(scratch string) error {
	binDir = filepath.Join(scratch, "bin")
	tmp := filepath.Join(scratch, "tmp")
	for _, dir := range []string{binDir, tmp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	// A plugin that runs as another user must be able to reach its binary and
	// its socket.
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
	if err := os.Unsetenv("XDG_RUNTIME_DIR"); err != nil { // hosts would prefer this directory
		return err
	}
	// By default a program with the race detector sleeps for a second before it
	// exits.
	return errors.Join(os.Setenv(underTest, scratch), os.Setenv("TMPDIR", tmp), os.Setenv("GORACE", "atexit_sleep_ms=0"))
}

// cleanUp removes what prepare made, and returns an error if the tests have
// left files in it. An empty directory of a killed host may stay.
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

// copyProgram copies a program. A link is not enough: the binary can be on
// another file system, and other users may not be able to enter its directory.
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

// options returns the options that every host here needs, followed by opts.
func options(tb testing.TB, opts ...host.Option) []host.Option {
	tb.Helper()
	return append([]host.Option{
		host.WithProtocols(echopb.EchoProtocol),
		host.WithTransports(unix.New()),
		host.WithLogger(testLogger(tb)),
	}, opts...)
}

// launch starts cmd. When the test ends, it stops the plugin if it is still
// running, and checks that nothing is left. A trace among opts replaces the
// trace by which launch learns the plugin's directory.
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

// assertGone checks that neither the process, nor its group, nor its directory
// is left.
func assertGone(tb testing.TB, pid int, dir string) {
	tb.Helper()
	if pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		tb.Errorf("process %d is left", pid)
	}
	// This process cannot wait for the killed children of others in the group:
	// the process that adopted them takes a moment.
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

// testContext returns a context that ends with the test, or when the test
// hangs.
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

// assertSays checks that a message has everything that a person needs.
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
