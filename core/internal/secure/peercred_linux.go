package secure

import "golang.org/x/sys/unix"

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = true

// PeerCredOfPairs says whether it can for a pair of sockets that one process has
// made: it then names the user of that process at both ends.
const PeerCredOfPairs = true

func socketPeer(fd int) (uid, pid int, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), int(cred.Pid), nil
}
