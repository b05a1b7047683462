package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// startHost starts a host with two plugins that are called all the time. It returns the
// environment in which plugwire finds the host.
func startHost(t *testing.T) (env []string) {
	t.Helper()
	runtime, err := os.MkdirTemp(scratch, "r") //nolint:usetesting // short, because the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	env = append(os.Environ(), "XDG_RUNTIME_DIR="+runtime)
	bin := filepath.Join(scratch, "bin")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "trial-host"), "-plugins", "words,<b>numbers", "-load", "5ms", filepath.Join(bin, "trial-plugin"))
	cmd.Env, cmd.Stderr = env, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = hang
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the host: %v", err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("the host says %q, %v", line, err)
	}
	return env
}

// plugwireCommand returns this program as the command.
func plugwireCommand(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "plugwire") // the name makes the tests the command
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	return cmd
}

// openTerminal returns both ends of a terminal with 10 lines of 60 characters.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	raw, err := person.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var ioctlErr error
	err = raw.Control(func(fd uintptr) {
		var numberErr error
		number, numberErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		ioctlErr = errors.Join(numberErr,
			unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0),
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 60}))
	})
	if err = errors.Join(err, ioctlErr); err == nil {
		program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// At a terminal the table is on a screen of its own and fits it, and Ctrl-C brings back what
// was there before.
func TestTopTerminal(t *testing.T) {
	t.Parallel()
	cmd := plugwireCommand(t, append(startHost(t), "TERM=xterm"), "top", "-interval", "100ms")
	person, program := openTerminal(t)
	cmd.Stdout, cmd.Stderr = program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder
	interrupted := false
	for buf := make([]byte, 4096); ; {
		n, err := person.Read(buf)
		screen.Write(buf[:n])
		if !interrupted && strings.Count(screen.String(), "2 plugins") > 1 {
			interrupted = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
		if err != nil { // EIO, when the command has closed the other end
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%q", err, screen.String())
	}
	text := screen.String()
	if !strings.HasPrefix(text, "\x1b[?1049h\x1b[?25l") || !strings.HasSuffix(text, "\x1b[?25h\x1b[?1049l") {
		t.Errorf("the screen is not as it was before:\n%q", text)
	}
	frames := strings.Split(text, "\x1b[H") // before each frame, and before the first words
	lines := strings.Split(regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]").ReplaceAllString(frames[2], ""), "\r\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[2], "HOST ") || !strings.Contains(lines[3]+lines[4], " words ") {
		t.Errorf("the first table is\n%s", strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 60 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

// browsers are programs that show a page without a screen.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}

// browser returns the path of a browser.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("none of %s is installed (.ci/run)", strings.Join(browsers, ", "))
	}
	t.Skipf("none of %s is installed", strings.Join(browsers, ", "))
	return ""
}

// The page shows the plugins in a real browser, and its script brings new values. The browser
// enforces the policy of the page: it would not run a script that the policy does not allow.
func TestTopPage(t *testing.T) {
	t.Parallel()
	program := browser(t)
	cmd := plugwireCommand(t, startHost(t), "top", "-http", "localhost:0", "-interval", "100ms")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	// The time of the page stands still while the browser waits for an answer, so the page
	// ends after some refreshes, however slow the machine is.
	show := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "--virtual-time-budget=3000", "--dump-dom", strings.TrimSpace(address))
	var problems strings.Builder
	show.Stderr = &problems
	dom, err := show.Output()
	if err != nil {
		t.Errorf("%v\n%s", err, problems.String())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, out) // there is no more
	if err := cmd.Wait(); err != nil {
		t.Errorf("the command: %v", err)
	}
	text := string(dom)
	if !regexp.MustCompile(`data-refreshes="[1-9]\d*"`).MatchString(text) {
		t.Errorf("the script of the page has not refreshed it")
	}
	for _, want := range []string{"<td>words</td>", "<td>&lt;b&gt;numbers</td>", "<td>ready</td>", " MiB</td>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(text, `class="stale"`) {
		t.Error("the page is stale")
	}
	if t.Failed() {
		t.Logf("%s\n%s", text, problems.String())
	}
}
