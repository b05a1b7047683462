//go:build linux

package e2e_test

import (
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// byPython returns a Python program that runs a plugin as sys.argv[1:].
func byPython(tb testing.TB, plugin *exec.Cmd, program string) *exec.Cmd {
	tb.Helper()
	const python = "/usr/bin/python3" // the path is the same for other users
	if _, err := os.Stat(python); err != nil {
		tb.Skipf("skipped, as it needs python3: %v", err)
	}
	return exec.Command(python, append([]string{"-c", program}, plugin.Args...)...)
}

// replacement is a program between a host and its plugin that does not pass on the
// inherited descriptors: the lifeline, and then the leash.
type replacement struct {
	name string
	by   func(tb testing.TB, plugin *exec.Cmd) *exec.Cmd
}

func replacements() []replacement {
	script := func(text string) func(testing.TB, *exec.Cmd) *exec.Cmd {
		return func(_ testing.TB, plugin *exec.Cmd) *exec.Cmd { return byScript(plugin, text) }
	}
	python := func(text string) func(testing.TB, *exec.Cmd) *exec.Cmd {
		return func(tb testing.TB, plugin *exec.Cmd) *exec.Cmd {
			tb.Helper()
			return byPython(tb, plugin, text)
		}
	}
	return []replacement{
		{"lifeline closed", script(`exec "$0" "$@" 3<&-`)},
		{"leash closed", script(`exec "$0" "$@" 4<&-`)},
		{"both closed", script(`exec "$0" "$@" 3<&- 4<&-`)},
		{"files in their place", script(`exec "$0" "$@" 3</dev/null 4</etc/passwd`)},
		{"pipes that have ended in their place", script(`: | { exec "$0" "$@" 3<&0 4<&0 </dev/null; }`)},
		{"one in place of the other", script(`exec "$0" "$@" 5<&3 3<&4 4<&5 5<&-`)},
		{"sockets in their place", python(`
import os, socket, sys
a, b = socket.socketpair()
os.dup2(a.fileno(), 3)
os.dup2(b.fileno(), 4)
a.close(); b.close()
os.execv(sys.argv[1], sys.argv[1:])`)},
		{"Python's subprocess", python(`import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode)`)},
		{"Python's subprocess, in a session of its own", python(`import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True).returncode)`)},
	}
}

const replacedMessage = "what this plugin has to notice the end of its host by is not what the host passed on"

// TestReplacedDescriptors launches plugins that do not get the descriptors for them.
func TestReplacedDescriptors(t *testing.T) {
	t.Parallel()
	for _, r := range replacements() {
		for _, user := range []string{"", ", as another user"} {
			t.Run(r.name+user, func(t *testing.T) {
				t.Parallel()
				logger, book := newJournal(t, slog.LevelInfo)
				cmd := r.by(t, lifePlugin(t))
				if user != "" {
					asNobody(t, cmd)
				}
				p := launch(t, cmd, host.WithLogger(logger))
				assertAlive(t, p)
				if err := p.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				said := book.attrs(replacedMessage, "error")
				if len(said) != 1 {
					t.Errorf("it was logged %d times: %q", len(said), said)
				}
			})
		}
	}
}

// asNobody makes a command run as another user.
func asNobody(tb testing.TB, cmd *exec.Cmd) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("only root may start a process as another user")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// TestHostKilledWithReplacedDescriptors kills the hosts of such plugins, also while they
// are stopped.
func TestHostKilledWithReplacedDescriptors(t *testing.T) {
	t.Parallel()
	needLeash(t)
	for _, r := range replacements() {
		for _, test := range []struct {
			name  string
			flags []string
			stop  bool
			dirty bool // the plugin may leave its socket to the next sweep
		}{
			{name: ""},
			{name: ", with a child", flags: []string{"-how", "spawn"}},
			{name: ", stopped", stop: true},
			// No file of the host's process can be opened.
			{name: ", as another user", flags: []string{"-nobody"}, dirty: true},
			{name: ", as another user, with a child", flags: []string{"-nobody", "-how", "spawn"}, dirty: true},
		} {
			t.Run(r.name+test.name, func(t *testing.T) {
				t.Parallel()
				place := newPlace(t)
				if slices.Contains(test.flags, "-nobody") {
					if os.Geteuid() != 0 {
						t.Skip("only root may start a process as another user")
					}
					makeDir(t, place.dir, 0o755)
				}
				cmd := r.by(t, lifePlugin(t))
				h := startHost(t, place, slices.Concat(test.flags, []string{"hold"}, cmd.Args)...)
				leader := atoi(t, h.awaitWord("started"))
				h.awaitWord("ready")
				if test.stop {
					plugin := leader
					if strings.Contains(r.name, "Python") || strings.Contains(r.name, "have ended") {
						plugin = onlyChild(t, leader)
					}
					stopProcess(t, plugin)
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
}

// TestReplacedConnection removes the connection that a plugin would inherit: the
// plugin uses the next transport, and does not touch the file in its place.
func TestReplacedConnection(t *testing.T) {
	t.Parallel()
	plugin := command("versions-plugin", "socketpair", "unix")
	for name, cmd := range map[string]*exec.Cmd{
		"closed":         byScript(plugin, `exec "$0" "$@" 5<&-`),
		"a file":         byScript(plugin, `exec "$0" "$@" 5</dev/null`),
		"another socket": byPython(t, plugin, "import os, socket, sys\na, b = socket.socketpair()\nos.dup2(a.fileno(), 5)\nos.set_inheritable(b.fileno(), True)\nos.execv(sys.argv[1], sys.argv[1:])"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, cmd, host.WithTransports(ways.Parse([]string{"socketpair", "unix"})...))
			if _, err := echopb.NewEchoClient(p).Unary(testContext(t), payload("alive")); err != nil {
				t.Error(err)
			}
			if info := p.Info(); info.Transport.Name != "unix" {
				t.Errorf("transport %v", info.Transport)
			}
			assertSays(t, p.Info().Skipped, "socketpair/1: descriptor 5 was not inherited")
		})
	}
}
