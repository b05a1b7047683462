//go:build !windows

package broker

import "syscall"

// errRefused is the error of the system for an address at which no process listens.
const errRefused = syscall.ECONNREFUSED
