//go:build linux

package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestHostKilled kills a host in each of the states that its plugin can be in.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	plugin := lifePlugin(t)
	tests := []struct {
		name   string
		flags  []string
		plugin *exec.Cmd
		until  string // word of the host at which it is killed; "ready" if empty
		stop   bool   // stop the plugin's processes first
		term   bool   // send them SIGTERM first
		dirty  bool   // the plugin leaves its socket to the next sweep
	}{
		{name: "idle", plugin: plugin},
		{name: "all processors busy", flags: []string{"-how", "spin"}, plugin: plugin},
		{name: "child in the group", flags: []string{"-how", "spawn"}, plugin: plugin},
		{name: "writing to stderr", flags: []string{"-how", "chatter"}, plugin: plugin},
		{name: "reading stdin", flags: []string{"-stdin", "-how", "read"}, plugin: plugin},
		{name: "launched from a thread that ended", flags: []string{"-thread"}, plugin: plugin},
		{name: "serving off the main thread", plugin: lifePlugin(t, "other thread")},
		{name: "stopped", plugin: plugin, stop: true},
		{name: "stopped, in a session of its own", flags: []string{"-setsid"}, plugin: plugin, stop: true},
		{name: "stopped, by a script", plugin: byScript(plugin, `sleep 600 & "$0" "$@"; exit $?`), stop: true},
		{name: "stopped, out of its group", flags: []string{"-how", "leave the group"}, plugin: byScript(plugin, `"$0" "$@"; exit $?`), stop: true, dirty: true}, // its script has ended, and SIGHUP may be first
		{name: "stopped, foreign, in a session of its own", flags: []string{"-setsid"}, plugin: foreign(plugin), stop: true, dirty: true},
		{name: "SIGTERM left to it", plugin: command("misbehave", "-ignores-sigterm"), term: true},
		{name: "foreign, SIGTERM left to it", plugin: foreign(command("misbehave", "-ignores-sigterm")), term: true, dirty: true},
		{name: "not a plugin", until: "started", plugin: exec.Command("/bin/sh", "-c", "echo not an answer; exec sleep 600")},
		{name: "foreign", plugin: foreign(plugin), dirty: true},
		{name: "foreign, launched from a thread that ended", flags: []string{"-thread"}, plugin: foreign(plugin), dirty: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			place := newPlace(t)
			h := startHost(t, place, append(append(test.flags, "hold"), test.plugin.Args...)...)
			if test.until == "started" {
				h.awaitWord("started")
			} else {
				h.awaitWord("ready")
			}
			var plugins []int
			eventually(t, settleTime, func() string { // the environment of one that just started cannot be read at once
				plugins = slices.DeleteFunc(place.processes(), func(pid int) bool { return pid == h.cmd.Process.Pid })
				if len(plugins) == 0 {
					return "no process of the plugin is found"
				}
				return ""
			})
			if test.stop {
				for _, pid := range plugins {
					stopProcess(t, pid)
				}
			}
			for _, pid := range plugins {
				if test.term {
					if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
						t.Fatal(err)
					}
				}
			}
			killHost(t, h.cmd)
			eventually(t, goneWithin, func() string {
				if test.dirty {
					return place.leftRunning()
				}
				return place.left()
			})
		})
	}
}

// runningHost is the program life-host.
type runningHost struct {
	tb     testing.TB
	cmd    *exec.Cmd
	words  chan string // the lines of its standard output; closed at its end
	stderr bytes.Buffer
}

// startHost starts a host as the leader of a session of its own, with an open
// standard input. It is killed when the test ends.
func startHost(tb testing.TB, place *place, args ...string) *runningHost {
	tb.Helper()
	return startHostBy(tb, place, []string{"life-host"}, args...)
}

// startHostBy starts a host by a command of its own.
func startHostBy(tb testing.TB, place *place, by []string, args ...string) *runningHost {
	tb.Helper()
	h := &runningHost{tb: tb, cmd: command(by[0], append(by[1:], args...)...), words: make(chan string, 16)}
	h.cmd.Env = place.env()
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	h.cmd.Stderr = &h.stderr
	stdout, ours, err := pipes(h.cmd)
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return h.read(stdout, ours)
}

func pipes(cmd *exec.Cmd) (stdout io.ReadCloser, stdin io.WriteCloser, err error) {
	if stdout, err = cmd.StdoutPipe(); err == nil {
		stdin, err = cmd.StdinPipe()
	}
	return stdout, stdin, err
}

func (h *runningHost) read(stdout io.Reader, stdin io.Closer) *runningHost {
	go func() {
		defer close(h.words)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			h.words <- lines.Text()
		}
	}()
	h.tb.Cleanup(func() {
		_ = h.cmd.Process.Kill() // the host may have ended already
		_ = h.cmd.Wait()
		_ = stdin.Close()
		for range h.words {
		}
	})
	return h
}

// awaitWord waits for a line that begins with word and returns the rest.
func (h *runningHost) awaitWord(word string) string {
	h.tb.Helper()
	for {
		line := waitFor(h.tb, word, h.words)
		if line == "" {
			h.tb.Fatalf("the host ended before it said %q: %v\n%s", word, h.cmd.Wait(), &h.stderr)
		}
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSpace(rest)
		}
	}
}

// TestInterruptAtTheTerminal sends SIGINT to the host's whole foreground group,
// as a terminal does, while the host is in a call.
func TestInterruptAtTheTerminal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		plugin *exec.Cmd
	}{
		{"plugin.Main", lifePlugin(t)},
		{"plugin.Serve, ended by SIGINT", lifePlugin(t, "default signals")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, newPlace(t), append([]string{"drain"}, test.plugin.Args...)...)
			h.awaitWord("ready")
			if err := syscall.Kill(-h.cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			h.awaitWord("drained")
		})
	}
}

// TestInterruptOfThePlugin sends SIGINT to the plugin itself, which leaves the
// decision to its host.
func TestInterruptOfThePlugin(t *testing.T) {
	t.Parallel()
	p := launch(t, lifePlugin(t))
	if err := syscall.Kill(p.Info().PID, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// So many round trips take longer than a signal takes to end a process.
	for range 100 {
		if err := p.Ping(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTerminatedPluginDrains sends SIGTERM to a plugin that is in a call.
func TestTerminatedPluginDrains(t *testing.T) {
	t.Parallel()
	var taken steps
	p := launch(t, lifePlugin(t), taken.trace())
	c := startChat(t, p)
	c.exchange("before")
	if err := syscall.Kill(p.Info().PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, settleTime, func() string {
		_, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{})
		if status.Code(err) != codes.Unavailable {
			return fmt.Sprintf("a new call ends with %v", err)
		}
		assertSays(t, err.Error(), "shutting down")
		return ""
	})
	c.exchange("after")
	c.finish()
	waitFor(t, "the end of the plugin", p.Done())
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Step != "" || exit.Status != (host.ExitStatus{}) {
		t.Errorf("Err = %v, want an ExitError with exit code 0 that nobody asked for", p.Err())
	}
	taken.assert(t) // none
}

// aChat is a call in flight.
type aChat struct {
	tb     testing.TB
	stream grpc.BidiStreamingClient[echopb.Payload, echopb.Payload]
}

func startChat(tb testing.TB, p *host.Plugin) *aChat {
	tb.Helper()
	stream, err := echopb.NewEchoClient(p).Chat(testContext(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return &aChat{tb, stream}
}

func (c *aChat) exchange(word string) {
	c.tb.Helper()
	if err := c.stream.Send(&echopb.Payload{Data: []byte(word)}); err != nil {
		c.tb.Fatal(err)
	}
	if got, err := c.stream.Recv(); err != nil || string(got.GetData()) != word {
		c.tb.Fatalf("got %q, %v; want %q", got.GetData(), err, word)
	}
}

func (c *aChat) finish() {
	c.tb.Helper()
	if err := c.stream.CloseSend(); err != nil {
		c.tb.Fatal(err)
	}
	if _, err := c.stream.Recv(); !errors.Is(err, io.EOF) {
		c.tb.Fatalf("got %v, want the end of the stream", err)
	}
}

// TestLastSteps stops plugins that drain when the host asks them, and then do
// not end.
func TestLastSteps(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ending string
		steps  []host.Step
		status host.ExitStatus
	}{
		{"until SIGTERM", []host.Step{host.StepAsk, host.StepTerminate}, host.ExitStatus{}},
		{"never", []host.Step{host.StepAsk, host.StepTerminate, host.StepKill}, host.ExitStatus{Signal: "killed"}},
	} {
		t.Run(test.ending, func(t *testing.T) {
			t.Parallel()
			var taken steps
			p := launch(t, lifePlugin(t, test.ending), taken.trace())
			_, err := shutdown(p, time.Second)
			last := test.steps[len(test.steps)-1]
			var exit *host.ExitError
			if !errors.As(err, &exit) || exit.Step != last || exit.Status != test.status {
				t.Errorf("Shutdown = %v, want an ExitError with %v after step %s", err, test.status, last)
			}
			taken.assert(t, test.steps...)
		})
	}
}

// spawn asks the plugin to start a process that never ends, and returns the
// number of that process.
func spawn(tb testing.TB, p *host.Plugin, how string) int {
	tb.Helper()
	got, err := echopb.NewEchoClient(p).Fail(testContext(tb), fail(how))
	if err != nil {
		tb.Fatal(err)
	}
	pid, err := strconv.Atoi(string(got.GetData()))
	if err != nil {
		tb.Fatal(err)
	}
	return pid
}

func TestChildEndsAfterClose(t *testing.T) {
	t.Parallel()
	p := launch(t, lifePlugin(t))
	pid := spawn(t, p, "spawn")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, settleTime, func() string {
		if isRunning(pid) {
			return describeProcess(pid)
		}
		return ""
	})
}

// TestCrashWhileAnotherHoldsTheOutput crashes a plugin whose output does not
// end with it: errors still have the reason.
func TestCrashWhileAnotherHoldsTheOutput(t *testing.T) {
	t.Parallel()
	p := launch(t, lifePlugin(t))
	pid := spawn(t, p, "spawn detached")
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("crash"))
	assertCrashed(t, err)
	waitFor(t, "the end of the plugin", p.Done())
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Panic != "crashed on demand" || exit.Err != nil {
		t.Errorf("Err = %v, want an ExitError with the panic and no other reason", p.Err())
	}
}

// TestDisconnectedPlugin starts a plugin that cuts its connection and keeps
// running: calls end at once, and the host ends the process after it had time
// to end by itself.
func TestDisconnectedPlugin(t *testing.T) {
	t.Parallel()
	p := launch(t, lifePlugin(t))
	_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("disconnect"))
	for _, err := range []error{err, p.Ping(testContext(t))} {
		if status.Code(err) != codes.Unavailable {
			t.Fatalf("a call = %v, want Unavailable", err)
		}
		assertSays(t, err.Error(), "was lost while it went on running")
	}
	if p.Err() != nil {
		t.Errorf("Err = %v before the end", p.Err())
	}
	waitFor(t, "the end of the plugin", p.Done())
	if exit, ok := errors.AsType[*host.ExitError](p.Err()); !ok || exit.Status != (host.ExitStatus{Signal: "killed"}) {
		t.Errorf("it ended with %v, want a plugin that was killed", p.Err())
	}
	assertSays(t, p.Err().Error(), "the connection to it was lost while it went on running, so it was killed")
	if err := p.Close(); !errors.Is(err, p.Err()) {
		t.Errorf("Close = %v, want %v", err, p.Err())
	}
}

// TestThreadOfTheLaunchEnds ends the thread on which Launch was called. The
// parent-death signal is for the end of the host.
func TestThreadOfTheLaunchEnds(t *testing.T) {
	t.Parallel()
	for name, plugin := range map[string]*exec.Cmd{"plugwire": lifePlugin(t), "foreign": foreign(lifePlugin(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			thread := make(chan int, 1)
			var p *host.Plugin
			var err error
			go func() {
				runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
				p, err = host.Launch(testContext(t), plugin, options(t)...)
				thread <- syscall.Gettid()
			}()
			tid := waitFor(t, "Launch", thread)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, settleTime, func() string {
				if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); err == nil && tid != os.Getpid() {
					return fmt.Sprintf("thread %d is there", tid)
				}
				return ""
			})
			for range 100 {
				if err := p.Ping(testContext(t)); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLaunchManyAtOnce(t *testing.T) {
	const many = 50
	place := newPlace(t)
	t.Setenv("TMPDIR", place.dir)
	t.Setenv(markVariable, place.mark)
	cmd := echoPlugin() // one template for all
	opts := options(t, host.WithLogger(slog.New(slog.DiscardHandler)))
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() {
			p, err := host.Launch(testContext(t), cmd, opts...)
			if err != nil {
				t.Error(err)
				return
			}
			word := strconv.Itoa(i)
			got, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{Data: []byte(word)})
			if err != nil || string(got.GetData()) != word {
				t.Errorf("call: got %q, %v; want %q", got.GetData(), err, word)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if left, err := os.ReadDir(place.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestLifelineIsNotPassedOn looks for the host's end of each lifeline, and of each
// leash, in the other processes that the host has started. A process that held such an
// end would keep the plugin running after its host.
func TestLifelineIsNotPassedOn(t *testing.T) {
	t.Parallel()
	inherited, err := descriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	first, second := launch(t, lifePlugin(t)), launch(t, lifePlugin(t))
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait() // the error is that of the kill
	})
	held, err := descriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{} // new pipes that this process can write to
	for fd, target := range held {
		if strings.HasPrefix(target, "pipe:") && isWriteOnly(t, fd) && inherited[fd] != target {
			ours[target] = true
		}
	}
	shared := func(pid int) (pipes []string) {
		held, err := descriptors(pid)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range held {
			if ours[target] {
				pipes = append(pipes, target)
			}
		}
		return pipes
	}
	a, b := shared(first.Info().PID), shared(second.Info().PID)
	if len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(pipe string) bool { return slices.Contains(b, pipe) }) {
		t.Errorf("the plugins share %v and %v with their host, want pipes of its own for each", a, b)
	}
	if pipes := shared(other.Process.Pid); len(pipes) > 0 {
		t.Errorf("another child holds %v", pipes)
	}
}

// isWriteOnly reports how this process has opened a descriptor.
func isWriteOnly(tb testing.TB, fd int) bool {
	tb.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if errors.Is(err, fs.ErrNotExist) {
		return false // closed meanwhile
	}
	var pos, flags int
	if err == nil {
		_, err = fmt.Sscanf(string(info), "pos:\t%d\nflags:\t%o", &pos, &flags)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return flags&syscall.O_ACCMODE == syscall.O_WRONLY
}

// TestSweep checks a sweep beside directories of killed hosts, and of other
// programs.
func TestSweep(t *testing.T) {
	t.Parallel()
	place := newPlace(t)
	plugin := lifePlugin(t)
	live := startHost(t, place, "hold", plugin.Path)
	live.awaitWord("ready")
	kept := entries(t, place.dir)
	if len(kept) != 1 {
		t.Fatalf("%v: want the one directory of the host that lives", kept)
	}
	prefix := strings.TrimRight(kept[0], "0123456789")

	for i := range 300 {
		dir := filepath.Join(place.dir, fmt.Sprint(prefix, "dead", i))
		makeDir(t, dir, 0o700)
		if i%100 == 0 {
			makeSocket(t, filepath.Join(dir, "plugin-dead"))
		}
	}
	others := filepath.Join(place.dir, "others")
	makeDir(t, others, 0o700)
	writeFile(t, filepath.Join(others, "file"))
	if err := os.Symlink(others, filepath.Join(place.dir, prefix+"link")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(place.dir, prefix+"file"))
	makeDir(t, filepath.Join(place.dir, prefix+"open"), 0o755)
	makeDir(t, filepath.Join(place.dir, prefix+"full"), 0o700)
	writeFile(t, filepath.Join(place.dir, prefix+"full", "file"))
	kept = append(kept, "others", prefix+"link", prefix+"file", prefix+"open", prefix+"full")

	runOnce(t, place, nil)
	slices.Sort(kept)
	if diff := cmp.Diff(kept, entries(t, place.dir)); diff != "" {
		t.Errorf("what is there after a sweep (-want +got):\n%s", diff)
	}
	for _, dir := range []string{others, filepath.Join(place.dir, prefix+"full")} {
		if got := entries(t, dir); len(got) != 1 {
			t.Errorf("in %s there is %v, want the one file", dir, got)
		}
	}
}

// TestSweepLeavesOtherUsersAlone sweeps as a user other than root.
func TestSweepLeavesOtherUsersAlone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a directory of another user")
	}
	const nobody, another = 65534, 65533
	place := newPlace(t)
	if err := os.Chmod(place.dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	const prefix = "plugwire-run-"
	for name, uid := range map[string]int{prefix + "mine": nobody, prefix + "root": 0, prefix + "another": another} {
		dir := filepath.Join(place.dir, name)
		makeDir(t, dir, 0o700)
		if err := os.Chown(dir, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	runOnce(t, place, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	if diff := cmp.Diff([]string{prefix + "another", prefix + "root"}, entries(t, place.dir)); diff != "" {
		t.Errorf("what is there after a sweep (-want +got):\n%s", diff)
	}
}

// runOnce starts a host, which stops its plugin and exits.
func runOnce(tb testing.TB, place *place, attr *syscall.SysProcAttr) {
	tb.Helper()
	cmd := command("life-host", "once", lifePlugin(tb).Path)
	cmd.Env = place.env()
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// entries returns the names in a directory, sorted.
func entries(tb testing.TB, dir string) []string {
	tb.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	names := make([]string, len(list))
	for i, entry := range list {
		names[i] = entry.Name()
	}
	return names
}

// makeDir makes a directory, and those above it, with the mode whatever the
// umask is.
func makeDir(tb testing.TB, path string, mode fs.FileMode) {
	tb.Helper()
	if err := errors.Join(os.MkdirAll(path, mode), os.Chmod(path, mode)); err != nil {
		tb.Fatal(err)
	}
}

// makeSocket leaves a socket without a listening process.
func makeSocket(tb testing.TB, path string) {
	tb.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		tb.Fatal(err)
	}
}

func writeFile(tb testing.TB, path string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte("left behind"), 0o600); err != nil {
		tb.Fatal(err)
	}
}
