package broker

import "golang.org/x/sys/windows"

// errRefused is the error of the system for an address at which no process listens.
const errRefused = windows.WSAECONNREFUSED
