package secure

import "golang.org/x/sys/unix"

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = true

// PeerCredOfPairs says whether this system can name the peer of a socket pair.
// It then names the user of the process that made the pair, at both ends.
const PeerCredOfPairs = false

func socketUID(fd int) (int, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

func socketPID(fd int) int {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return pid
}
