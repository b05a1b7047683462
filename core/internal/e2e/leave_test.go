//go:build linux

package e2e_test

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestPluginThatLeftItsGroup moves itself to the host's process group and then
// does nothing any more: signals reach it there.
func TestPluginThatLeftItsGroup(t *testing.T) {
	t.Parallel()
	p := launch(t, lifePlugin(t))
	if _, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("leave the group")); err != nil {
		t.Fatal(err)
	}
	if got := syscall.Getpgrp(); got != pgid(t, p.Info().PID) {
		t.Fatalf("the plugin is in group %d, not in its host's, %d", pgid(t, p.Info().PID), got)
	}
	stopProcess(t, p.Info().PID)
	took, err := shutdown(p, 200*time.Millisecond)
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Step != host.StepKill || exit.Status != (host.ExitStatus{Signal: "killed"}) {
		t.Errorf("Shutdown = %v, want an ExitError with step kill", err)
	}
	if took > unhurried {
		t.Errorf("Shutdown took %v", took)
	}
}

func pgid(tb testing.TB, pid int) int {
	tb.Helper()
	group, err := syscall.Getpgid(pid)
	if err != nil {
		tb.Fatal(err)
	}
	return group
}

// TestHostOfWrappedPluginKilled has a plugin that a script has started: the
// script leads the group, and has another child in it.
func TestHostOfWrappedPluginKilled(t *testing.T) {
	t.Parallel()
	const script = `sleep 600 & "$0" "$@"; exit $?`
	wrapped := exec.Command("/bin/sh", append([]string{"-c", script}, lifePlugin(t).Args...)...)
	place := newPlace(t)
	h := startHost(t, place, append([]string{"hold"}, wrapped.Args...)...)
	h.awaitWord("ready")
	eventually(t, settleTime, func() string { // the host, the script, its other child, the plugin
		if n := len(place.processes()); n != 4 {
			return "4 processes are expected: " + place.leftRunning()
		}
		return ""
	})
	killHost(t, h.cmd)
	eventually(t, goneWithin, place.left)
}
