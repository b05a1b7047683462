//go:build unix

package self

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Reader is who reads what this process prints: a host of another framework, which
// gives no lifeline, but holds the other ends of two pipes for as long as it lives.
// A Read ends when nobody does any more.
type Reader struct{ outlets []*os.File }

// NewReader returns the reader of outlets, this process's own ends of the pipes.
// They are watched until the process ends. What is no pipe, such as a terminal, is
// watched for ever: a host may close its end of one pipe, but hardly all of them.
//
// On Linux a process that is stopped when its host dies is resumed: it could not end
// itself, and the host may not have been able to end it, either.
func NewReader(outlets ...*os.File) *Reader {
	for _, f := range outlets {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			_ = resumeAtEnd(f) // only one that is stopped needs it
		}
	}
	return &Reader{outlets}
}

// Read implements [io.Reader]: it waits, in a thread of its own, and returns an
// error.
func (r *Reader) Read([]byte) (int, error) {
	for _, f := range r.outlets {
		if err := awaitBroken(f); err != nil {
			return 0, err
		}
	}
	return 0, os.ErrClosed
}

// awaitBroken returns when nobody reads from f's pipe.
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

// KillGroup ends this process, and its group if it leads one; otherwise that is its
// host's. It does not return.
func (r *Reader) KillGroup() {
	if pid := unix.Getpid(); unix.Getpgrp() == pid {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	killSelf()
}
