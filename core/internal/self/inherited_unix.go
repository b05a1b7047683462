//go:build unix

package self

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var errNotInherited = errors.New("it is something of this process's own")

// errReplaced is the reason for a descriptor that is open on something else than
// what the host has passed on.
var errReplaced = errors.New("it is open on something else than what the host passed on: a program between the two closed it")

// Identify returns the identity of what f is open on.
func Identify(f *os.File) (FileID, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return FileID{}, err
	}
	var stat unix.Stat_t
	var statErr error
	if err := raw.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &stat) }); err != nil {
		return FileID{}, err
	}
	return fileID(&stat), statErr
}

//nolint:unconvert // the fields have other types on other systems, and a device may be negative there
func fileID(stat *unix.Stat_t) FileID {
	return FileID{Device: uint64(stat.Dev), Inode: uint64(stat.Ino)}
}

// Inherit takes the descriptor, and keeps it from the plugin's own children. What is
// not what the host has passed on is left as it is. A host that does not tell the
// identity may have passed on any socket, pipe or file of another process's making.
func (d Descriptor) Inherit() (*os.File, error) {
	var stat unix.Stat_t
	err := unix.Fstat(d.FD, &stat)
	switch {
	case err != nil:
	case stat.Mode&unix.S_IFMT == 0: // as what epoll has
		err = errNotInherited
	case d.ID != FileID{} && d.ID != fileID(&stat):
		err = errReplaced
	case d.Pipe && stat.Mode&unix.S_IFMT != unix.S_IFIFO:
		err = errReplaced
	default:
		_, err = unix.FcntlInt(uintptr(d.FD), unix.F_SETFD, unix.FD_CLOEXEC)
		if d.Pipe && err == nil {
			err = unix.SetNonblock(d.FD, true) // before os.File looks at it, so that a Read does not keep a thread
		}
	}
	if err != nil {
		return nil, fmt.Errorf("descriptor %d was not inherited: %w", d.FD, err)
	}
	return os.NewFile(uintptr(d.FD), fmt.Sprintf("inherited %d", d.FD)), nil
}
