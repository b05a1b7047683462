//go:build !windows

package tcp

import "syscall"

const (
	errInUse     = syscall.EADDRINUSE
	errForbidden = syscall.EACCES
)
