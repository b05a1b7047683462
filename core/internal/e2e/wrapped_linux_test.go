package e2e_test

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

// TestHostKilledBehindAWrapper kills hosts whose plugins, with a child, are outside of
// the group that the host has made, or in another PID namespace.
func TestHostKilledBehindAWrapper(t *testing.T) {
	t.Parallel()
	needLeash(t)
	plugin := lifePlugin(t)
	by := func(tool string, args ...string) *exec.Cmd {
		return exec.Command(tool, append(args, plugin.Args...)...)
	}
	for _, wrapper := range []struct {
		name string
		root bool
		cmd  *exec.Cmd
	}{
		{name: "first of a PID namespace", root: true, cmd: by("unshare", "--fork", "--pid", "--mount-proc")},
		{
			name: "first of a PID namespace, without what it inherits", root: true,
			cmd: by("bash", "-c", `exec unshare --fork --pid --mount-proc "$0" "$@" 3<&- 4<&-`),
		},
		{
			name: "first of a PID namespace, foreign", root: true,
			cmd: by("bash", "-c", `unset PLUGWIRE_OFFER; exec unshare --fork --pid --mount-proc "$0" "$@"`),
		},
		{name: "in a session of its own", cmd: by("setsid", "--fork", "--wait")},
		{name: "a job of a shell", cmd: by("bash", "-c", `set -m; "$0" "$@" & set +m; wait`)},
		{name: "foreign, by a script", cmd: by("bash", "-c", `unset PLUGWIRE_OFFER; "$0" "$@"; exit $?`)},
	} {
		for _, test := range []struct {
			name        string
			stop, crash bool // the plugin is stopped, or was killed without the host's notice
		}{
			{name: ""},
			{name: ", stopped", stop: true},
			{name: ", after the plugin", crash: true},
		} {
			t.Run(wrapper.name+test.name, func(t *testing.T) {
				t.Parallel()
				if wrapper.root && os.Geteuid() != 0 {
					t.Skip("only root can make a PID namespace")
				}
				if wrapper.cmd.Err != nil {
					t.Skipf("skipped: %v", wrapper.cmd.Err)
				}
				place := newPlace(t)
				h := startHost(t, place, slices.Concat([]string{"-how", "spawn", "hold"}, wrapper.cmd.Args)...)
				leader := atoi(t, h.awaitWord("started"))
				h.awaitWord("ready")
				victim := onlyChild(t, leader)
				if test.stop {
					stopProcess(t, victim)
				}
				if test.crash {
					stopProcess(t, h.cmd.Process.Pid)
					if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					eventually(t, settleTime, func() string {
						if isRunning(victim) {
							return describeProcess(victim)
						}
						return ""
					})
				}
				killHost(t, h.cmd)
				eventually(t, goneWithin, place.leftRunning)
			})
		}
	}
}
