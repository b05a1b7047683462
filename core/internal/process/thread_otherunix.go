//go:build unix && !linux

package process

import "syscall"

// bindToParent does nothing: only Linux has a parent-death signal. A Plugwire plugin ends by
// its lifeline. A plugin of another framework may outlive a killed host.
func bindToParent(*syscall.SysProcAttr, bool) {}
