//go:build unix

package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OutputHeld reports whether other processes hold what this one printed to, so that
// its output does not end: all that was printed is read, and the end does not come. It
// also names these processes, as far as this process may see them. On Linux, processes
// that are ending and those that are just being started are not named. Call it when the
// process has ended.
func (p *Process) OutputHeld() (holders []string, held bool) {
	for _, f := range []*os.File{p.stdout, p.stderr} {
		switch stateOf(f) {
		case pending:
			return nil, false
		case idle:
			held = true
		case ended:
		}
	}
	if !held {
		return nil, false
	}
	return p.holders(), true
}

// pipeState is what a read from a pipe would find.
type pipeState int

const (
	ended   pipeState = iota // nobody can write to it, or it is closed
	pending                  // there is something to read
	idle                     // there is nothing to read, and a process can write to it
)

func stateOf(f *os.File) (state pipeState) {
	raw, err := f.SyscallConn()
	if err != nil {
		return ended
	}
	_ = raw.Control(func(fd uintptr) { // an error is of one that is closed
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small numbers
		n, err := unix.Poll(fds, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			state = pending // as far as is known
		case err == nil && n == 0:
			state = idle
		case err == nil && fds[0].Revents&unix.POLLIN != 0:
			state = pending
		}
	})
	return state
}
