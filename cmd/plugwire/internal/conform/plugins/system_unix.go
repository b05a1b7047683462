//go:build unix

package plugins

import "runtime"

// hasLifeline reports whether plugins of this system get a lifeline.
const hasLifeline = true

// hasSignals reports whether this system has signals.
const hasSignals = true

// hasPeerCred reports whether the kernel names the user of a socket's peer.
const hasPeerCred = runtime.GOOS == "linux" || runtime.GOOS == "darwin"
