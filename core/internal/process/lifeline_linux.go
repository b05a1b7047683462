package process

import "golang.org/x/sys/unix"

// unbindFromParent undoes bindToParent. An error would mean a kernel without
// the call; then the process ends by the signal.
func unbindFromParent() { _ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }
