//go:build unix

package host

import (
	"os"
	"os/exec"
)

// pluginUID returns the user whom cmd asks for, -1 if none.
func pluginUID(cmd *exec.Cmd) int {
	if cmd.SysProcAttr == nil || cmd.SysProcAttr.Credential == nil {
		return -1
	}
	return int(cmd.SysProcAttr.Credential.Uid)
}

// chroot returns the directory that is the root of cmd's process, if it is not
// this one's.
func chroot(cmd *exec.Cmd) string {
	if cmd.SysProcAttr == nil {
		return ""
	}
	return cmd.SysProcAttr.Chroot
}

// userOf returns the user as whom cmd runs.
func userOf(cmd *exec.Cmd) int {
	if uid := pluginUID(cmd); uid >= 0 {
		return uid
	}
	return os.Geteuid()
}
