package secure

import (
	"errors"

	"golang.org/x/sys/unix"
)

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = true

// PeerCredOfPairs says whether it can for a pair of sockets that one process has
// made: it then names the user of that process at both ends.
const PeerCredOfPairs = true

func socketUID(fd int) (int, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

func socketPID(fd int) int {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || peerHasEnded(fd) {
		return 0
	}
	return int(cred.Pid)
}

// peerHasEnded reports whether the process that the kernel names is no more, and was
// reaped: one that has inherited its socket serves it, and the number may be
// another's. Before Linux 6.5 nobody can tell.
func peerHasEnded(fd int) bool {
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return !errors.Is(err, unix.ENOPROTOOPT)
	}
	defer unix.Close(pidfd) //nolint:errcheck // nothing was written
	const exists = 0        // no signal, but whether one could be sent
	return errors.Is(unix.PidfdSendSignal(pidfd, exists, nil, 0), unix.ESRCH)
}
