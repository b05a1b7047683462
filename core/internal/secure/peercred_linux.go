package secure

import (
	"errors"

	"golang.org/x/sys/unix"
)

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = true

// PeerCredOfPairs says whether this system can name the peer of a socket pair.
// It then names the user of the process that made the pair, at both ends.
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

// peerHasEnded reports whether the process that the kernel names has ended and was
// reaped. Then a process that inherited the socket serves it, and the number may
// belong to a new process. Before Linux 6.5 the kernel does not tell.
func peerHasEnded(fd int) bool {
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		return !errors.Is(err, unix.ENOPROTOOPT)
	}
	defer unix.Close(pidfd) //nolint:errcheck // nothing was written
	const exists = 0        // signal 0 only checks whether the process exists
	return errors.Is(unix.PidfdSendSignal(pidfd, exists, nil, 0), unix.ESRCH)
}
