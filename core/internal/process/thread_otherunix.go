//go:build unix && !linux

package process

import "syscall"

// bindToParent does nothing: only Linux has a parent-death signal. A Plugwire
// plugin ends by its lifeline; a foreign one may outlive a killed host here.
func bindToParent(*syscall.SysProcAttr, bool) {}
