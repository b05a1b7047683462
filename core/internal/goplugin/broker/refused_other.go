//go:build !windows

package broker

import "syscall"

// errRefused is what the system says of an address at which nobody listens.
const errRefused = syscall.ECONNREFUSED
