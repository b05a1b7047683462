//go:build unix

package pw

import "golang.org/x/sys/unix"

// isReadable reports whether a socket has bytes, or has ended.
func isReadable(fd uintptr) bool {
	one := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
	n, err := unix.Poll(one[:], 0)
	return n > 0 || err != nil
}
