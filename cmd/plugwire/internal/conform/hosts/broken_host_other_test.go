//go:build unix && !linux

package hosts_test

import "syscall"

// attributes make the plugin the leader of a session.
func (h *brokenHost) attributes() *syscall.SysProcAttr {
	if h.defect == "no-session" {
		return &syscall.SysProcAttr{Setpgid: true}
	}
	return &syscall.SysProcAttr{Setsid: true}
}
