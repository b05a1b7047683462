package tcp

import "syscall"

// Winsock has numbers of its own. It never returns syscall.EADDRINUSE.
const (
	errInUse     = syscall.Errno(10048) // WSAEADDRINUSE
	errForbidden = syscall.WSAEACCES    // the port is reserved, for Hyper-V for example
)
