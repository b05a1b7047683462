package hosts_test

import "syscall"

// attributes make the plugin the leader of a session, and end it with the host.
func (h *brokenHost) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	switch h.defect {
	case "no-session":
		attr.Setsid, attr.Setpgid = false, true
	case "outlived", "never-kills":
		attr.Pdeathsig = 0
	}
	return attr
}
