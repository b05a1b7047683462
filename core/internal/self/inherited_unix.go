//go:build unix

package self

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

var errNotInherited = errors.New("it is something of this process's own")

// errReplaced is the error for a descriptor that is open on another file than the host
// passed on.
var errReplaced = errors.New("it is open on something else than what the host passed on: a program between the two closed it")

// Identify returns the identity of an open file.
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

// Inherit takes the descriptor, and keeps it from the plugin's own children. It does not
// touch a descriptor that is not the one that the host passed on. If the host does not say
// the identity, Inherit accepts any socket, pipe or file of another process.
func (d Descriptor) Inherit() (*os.File, error) {
	var stat unix.Stat_t
	err := unix.Fstat(d.FD, &stat)
	switch {
	case err != nil:
	case stat.Mode&unix.S_IFMT == 0: // for example that of epoll
		err = errNotInherited
	case d.ID != FileID{} && d.ID != fileID(&stat):
		err = errReplaced
	case d.Pipe && stat.Mode&unix.S_IFMT != unix.S_IFIFO:
		err = errReplaced
	default:
		_, err = unix.FcntlInt(uintptr(d.FD), unix.F_SETFD, unix.FD_CLOEXEC)
		if d.Pipe && err == nil {
			err = unix.SetNonblock(d.FD, true) // before os.NewFile looks at it, so that a Read does not occupy a thread
		}
	}
	if err != nil {
		return nil, fmt.Errorf("descriptor %d was not inherited: %w", d.FD, err)
	}
	return os.NewFile(uintptr(d.FD), fmt.Sprintf("inherited %d", d.FD)), nil
}
