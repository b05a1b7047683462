//go:build linux

package e2e_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a new terminal.
func openTerminal(tb testing.TB) (person, terminal *os.File) {
	tb.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Skipf("this system has no terminals to make: %v", err)
	}
	tb.Cleanup(func() { _ = person.Close() })
	raw, err := person.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var number int
	var ctlErr error
	err = raw.Control(func(fd uintptr) {
		if ctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ctlErr == nil {
			number, ctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || ctlErr != nil {
		tb.Fatal(err, ctlErr)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = terminal.Close() })
	go func() { _, _ = io.Copy(io.Discard, person) }() // ends when the last process closes the terminal, or with person
	return person, terminal
}

// startHostAt starts a host at a terminal, in the foreground, as a shell does. Its
// standard input is the terminal.
func startHostAt(tb testing.TB, terminal *os.File, place *place, args ...string) *runningHost {
	tb.Helper()
	h := &runningHost{tb: tb, cmd: command("life-host", args...), words: make(chan string, 16)}
	h.cmd.Env = place.env()
	h.cmd.Stdin = terminal
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	h.cmd.Stderr = &h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return h.read(stdout, io.NopCloser(nil))
}

// TestTerminal checks that a plugin and its children may use the host's terminal in
// every way for which a background process would be stopped.
func TestTerminal(t *testing.T) {
	t.Parallel()
	plugin := lifePlugin(t)
	attrs := map[string][]string{"": nil, ", in a session of its own": {"-setsid"}, ", in a group of its own": {"-setpgid"}}
	for _, test := range []struct{ name, script string }{
		{"read", `read -r line </dev/tty`},
		{"write", `stty tostop < /dev/tty; echo prompt > /dev/tty`},
		{"echo off", `stty -echo < /dev/tty`},
		{"a shell with job control", `bash --norc -i -c 'read -r line </dev/tty' < /dev/tty`},
	} {
		for name, attr := range attrs {
			t.Run(test.name+name, func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath("bash"); err != nil && strings.Contains(test.script, "bash") {
					t.Skip("skipped, as it needs bash")
				}
				_, terminal := openTerminal(t)
				args := append(slices.Clone(attr), "-how", "run:"+test.script, "hold", plugin.Path)
				h := startHostAt(t, terminal, newPlace(t), args...)
				h.awaitWord("ready") // the script has ended
			})
		}
	}
}

// TestInterruptTyped types the key that interrupts at the host's terminal, while the
// host is in a call.
func TestInterruptTyped(t *testing.T) {
	t.Parallel()
	for name, plugin := range map[string]*exec.Cmd{
		"plugin.Main":                    lifePlugin(t),
		"plugin.Serve, ended by SIGINT":  lifePlugin(t, "default signals"),
		"another framework":              foreign(lifePlugin(t)),
		"another framework, by a script": exec.Command("/bin/sh", append([]string{"-c", `unset PLUGWIRE_OFFER; "$0" "$@"; exit $?`}, lifePlugin(t).Args...)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			person, terminal := openTerminal(t)
			h := startHostAt(t, terminal, newPlace(t), append([]string{"drain"}, plugin.Args...)...)
			h.awaitWord("ready")
			const interrupt = 3 // Ctrl-C, as terminals are set when they are made
			if _, err := fmt.Fprintf(person, "%c", interrupt); err != nil {
				t.Fatal(err)
			}
			h.awaitWord("drained")
		})
	}
}
