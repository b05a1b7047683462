package pyvider_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// ended reports whether a process has ended: then it has no program, whether it
// was reaped or not.
func ended(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err != nil
}

// TestOurHostKilled kills a host of ours. The plugin, which is theirs, ends with
// it, and leaves the socket, which is not in the host's directory.
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

// TestTheirsAlone kills a host of theirs with a plugin of theirs, which lives on:
// what our hosts and plugins do about it is not in their library.
func TestTheirsAlone(t *testing.T) {
	t.Parallel()
	require(t)
	cmd := theirHost(t, "hold", "TMPDIR="+tempDir(t))
	cmd.Args = append(cmd.Args[:len(cmd.Args)-1], theirPlugin(t, []string{"unix"}).Args...)
	pid := killHost(t, cmd, readPID)
	if ended(pid) {
		t.Error("the plugin has ended with its host")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
