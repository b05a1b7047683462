//go:build unix

package self

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Reader notices the end of a host of another framework. Such a host passes on no lifeline,
// but reads what this process prints for as long as it lives. A Read of Reader ends when no
// process reads that any more.
type Reader struct{ outlets []*os.File }

// NewReader watches outlets, this process's own ends of the pipes, until the process ends.
// A Read ends only after all of them: a host may close its end of one pipe. It never ends
// if one of them is not a pipe, such as a terminal.
//
// On Linux, a process that is stopped when its host dies is resumed. Otherwise it could not
// end itself.
func NewReader(outlets ...*os.File) *Reader {
	for _, f := range outlets {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			_ = resumeAtEnd(f) // without it, only a process that is stopped stays
		}
	}
	return &Reader{outlets}
}

// Read implements [io.Reader]. It blocks, in a thread of its own, and then returns an error.
func (r *Reader) Read([]byte) (int, error) {
	for _, f := range r.outlets {
		if err := awaitBroken(f); err != nil {
			return 0, err
		}
	}
	return 0, os.ErrClosed
}

// awaitBroken returns when no process reads from f's pipe.
func awaitBroken(f *os.File) error {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}} //nolint:gosec // descriptors are small
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case fds[0].Revents != 0: // POLLERR or POLLHUP
			return nil
		}
	}
}

// KillGroup ends this process, and its group if this process leads one. Any other group is
// the host's. KillGroup does not return.
func (r *Reader) KillGroup() {
	if pid := unix.Getpid(); unix.Getpgrp() == pid {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	killSelf()
}
