//go:build linux

package e2e_test

import (
	"os/exec"
	"testing"
)

// TestHostOfWrappedPluginKilled kills the host of a plugin that a script has
// started. The script leads the group, and has another child in it.
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
