//go:build linux

package e2e_test

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/leash"
)

// byScript returns the command of a script that runs a plugin as "$0" "$@".
func byScript(plugin *exec.Cmd, script string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", script}, plugin.Args...)...)
}

// needLeash skips a test on systems where host and plugin can die in one moment and
// leave files.
func needLeash(tb testing.TB) {
	tb.Helper()
	l, err := leash.New()
	if err != nil {
		tb.Skipf("this system has nothing by which the kernel could end what is left: %v", err)
	}
	l.Close()
}

// TestSoakHostKilledInClose kills hosts at random moments of their Close.
func TestSoakHostKilledInClose(t *testing.T) {
	t.Parallel()
	needLeash(t)
	for name, plugin := range map[string]*exec.Cmd{
		"plugwire":     lifePlugin(t),
		"by a script":  byScript(lifePlugin(t), `"$0" "$@"; exit $?`),
		"on go-plugin": byScript(onGoPlugin(), `sleep 600 & exec "$0" "$@"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := soakRandom(t)
			for range soakLength(120, 5) {
				place := newPlace(t)
				h := startHost(t, place, append([]string{"close"}, plugin.Args...)...)
				h.awaitWord("closing")
				time.Sleep(upTo(rnd, 6*time.Millisecond)) // the moment is random
				killHost(t, h.cmd)
				eventually(t, goneWithin, func() string {
					if name == "on go-plugin" { // which leaves its socket to the next sweep
						return place.leftRunning()
					}
					return place.left()
				})
			}
		})
	}
}

// TestHostKilledAfterItsPlugin ends a plugin while its host is stopped, and then
// kills the host: the host cannot end the processes that the plugin has left.
func TestHostKilledAfterItsPlugin(t *testing.T) {
	t.Parallel()
	needLeash(t)
	plugin := lifePlugin(t)
	for _, test := range []struct {
		name   string
		plugin *exec.Cmd
		flags  []string
		leader bool // the plugin is the process that the host has started
	}{
		{name: "plugwire", plugin: plugin, leader: true},
		{name: "in a session of its own", plugin: plugin, flags: []string{"-setsid"}, leader: true},
		{name: "by a script", plugin: byScript(plugin, `"$0" "$@"; exit $?`)},
		{name: "foreign", plugin: foreign(plugin), leader: true},
		{name: "foreign, by a script", plugin: byScript(plugin, `unset PLUGWIRE_OFFER; "$0" "$@"; exit $?`)},
		{name: "on go-plugin", plugin: byScript(onGoPlugin(), `sleep 600 & exec "$0" "$@"`), leader: true},
	} {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(test.name+", "+signal.String(), func(t *testing.T) {
				t.Parallel()
				place := newPlace(t)
				flags := test.flags
				if test.name != "on go-plugin" {
					flags = append(flags, "-how", "spawn")
				}
				h := startHost(t, place, slices.Concat(flags, []string{"hold"}, test.plugin.Args)...)
				leader := atoi(t, h.awaitWord("started"))
				h.awaitWord("ready")
				stopProcess(t, h.cmd.Process.Pid)
				victim := leader
				if !test.leader {
					victim = onlyChild(t, leader)
				}
				if err := syscall.Kill(victim, signal); err != nil {
					t.Fatal(err)
				}
				eventually(t, settleTime, func() string { // a script must not outlive the host, either
					if isRunning(victim) {
						return describeProcess(victim)
					}
					return ""
				})
				killHost(t, h.cmd)
				eventually(t, goneWithin, place.leftRunning)
			})
		}
	}
}

// onlyChild returns the one process whose parent is parent.
func onlyChild(tb testing.TB, parent int) (child int) {
	tb.Helper()
	var found []int
	for _, pid := range allProcesses() {
		if _, ppid, ok := processState(pid); ok && ppid == parent {
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		tb.Fatalf("process %d has the children %v, want one", parent, found)
	}
	return found[0]
}
