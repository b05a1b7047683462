//go:build !linux && !darwin

package secure

import "errors"

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = false

// PeerCredOfPairs says whether this system can name the peer of a socket pair.
// It then names the user of the process that made the pair, at both ends.
const PeerCredOfPairs = false

func socketUID(int) (int, error) { return 0, errors.ErrUnsupported }

func socketPID(int) int { return 0 }
