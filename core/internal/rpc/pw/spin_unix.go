//go:build unix

package pw

import "golang.org/x/sys/unix"

// isReadable reports whether a socket has bytes, or has ended.
func isReadable(fd uintptr) bool { return isReady(fd, unix.POLLIN) }

// isWritable reports whether a socket takes bytes at once. The kernel says so while about a
// third of its buffer is free.
func isWritable(fd uintptr) bool { return isReady(fd, unix.POLLOUT) }

func isReady(fd uintptr, events int16) bool {
	one := [1]unix.PollFd{{Fd: int32(fd), Events: events}} //nolint:gosec // a descriptor is small
	n, err := unix.Poll(one[:], 0)
	return n > 0 || err != nil
}
