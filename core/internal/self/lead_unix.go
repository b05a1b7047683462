//go:build unix

package self

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/leash"
)

// LeadGroup makes this process the leader of a process group, in a session of its own,
// unless it leads a group already. What this process starts from then on is in that group,
// and [Reader.KillGroup] ends it with this process. On Linux the kernel ends the group when
// this process has ended, in whatever way.
//
// The group needs its own session. In the session of the host it would be a background
// group, which the system stops when one of its processes reads from the terminal.
func LeadGroup() error {
	if unix.Getpgrp() != unix.Getpid() {
		if _, err := unix.Setsid(); err != nil {
			return fmt.Errorf("a session of its own: %w", err)
		}
	}
	return leash.HoldOwn(unix.Getpid())
}
