package pyvider_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// ended reports whether a process has ended: if so, it has no program, whether
// it was reaped or not.
func ended(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err != nil
}

// TestOurHostKilled kills our host. Their plugin ends too. It leaves its socket
// behind, which is not in the host's directory.
func TestOurHostKilled(t *testing.T) {
	t.Parallel()
	summary.note(t, "plugwire", "pyvider", "host killed, unix")
	require(t)
	tmp := tempDir(t)
	plugin := theirPlugin(t, []string{"unix"}, "TMPDIR="+tmp)
	cmd := exec.Command(os.Args[0], plugin.Args...)
	cmd.Env = append(plugin.Env, roleVariable+"="+roleHost)
	pid := killHost(t, cmd, func(line []byte) (int, error) { return strconv.Atoi(strings.TrimSpace(string(line))) })
	eventually(t, func() string { return complaint(pid) })
	checkSocketLeft(t, tmp, true)
}
