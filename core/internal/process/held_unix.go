//go:build unix

package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OutputHeld reports whether other processes hold the output of this one open: everything
// that was printed is read, and the end does not come. It also returns the names of these
// processes, as far as this process may see them. On Linux it leaves out processes that are
// ending or being started. Call it when the process has ended.
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

// pipeState says what a read from a pipe would find.
type pipeState int

const (
	ended   pipeState = iota // no process can write to the pipe, or it is closed
	pending                  // there is something to read
	idle                     // there is nothing to read, and a process can write to it
)

func stateOf(f *os.File) (state pipeState) {
	raw, err := f.SyscallConn()
	if err != nil {
		return ended
	}
	_ = raw.Control(func(fd uintptr) { // fails only if the file is closed
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small numbers
		n, err := unix.Poll(fds, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			state = pending // unknown: look again
		case err == nil && n == 0:
			state = idle
		case err == nil && fds[0].Revents&unix.POLLIN != 0:
			state = pending
		}
	})
	return state
}
