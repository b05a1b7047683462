//go:build unix

package supervise

import (
	"os/exec"
	"syscall"
)

// endWithChildren makes the end of the command's context end the processes that the command
// has started, too: go build starts compilers.
func endWithChildren(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
