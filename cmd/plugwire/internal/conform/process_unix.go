//go:build unix

package conform

import (
	"os/exec"
	"syscall"
)

// setGroup makes a command the leader of a session, and so of a process group, if leads is
// true.
func setGroup(cmd *exec.Cmd, leads bool) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: leads} }

// killGroup kills a process group. It may have ended.
func killGroup(id int) { _ = syscall.Kill(-id, syscall.SIGKILL) }
