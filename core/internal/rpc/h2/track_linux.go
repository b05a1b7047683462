package h2

import (
	"errors"

	"golang.org/x/sys/unix"
)

// socketsTell says whether hungUp works. grpc reads a plain socket in a cheaper way
// than any other connection here, so track leaves it as it is.
const socketsTell = true

// hungUp reports whether the other side of a socket has closed it, or will not write any
// more, whatever is left to read.
func hungUp(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} //nolint:gosec // descriptors are small numbers
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}
