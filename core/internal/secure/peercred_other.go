//go:build !linux && !darwin

package secure

import "errors"

// PeerCredSupported says whether this system can name a socket's peer.
const PeerCredSupported = false

func socketUID(int) (int, error) { return 0, errors.ErrUnsupported }
