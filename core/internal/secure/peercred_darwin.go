package secure

import "golang.org/x/sys/unix"

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = true

// PeerCredOfPairs says whether it can for a pair of sockets that one process has
// made: it then names the user of that process at both ends.
const PeerCredOfPairs = false

func socketPeer(fd int) (uid, pid int, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	if pid, err = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err != nil {
		pid = 0 // the user is what counts
	}
	return int(cred.Uid), pid, nil
}
