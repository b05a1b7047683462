package unix

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	sys "golang.org/x/sys/unix"
)

// openOnly opens a directory as a place for names, which needs no permission to read.
const openOnly = sys.O_PATH

// descriptor returns a path to the file behind a descriptor of this process.
func descriptor(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// bindPath returns the path to bind. It goes by the descriptor of the directory, which
// no other process can redirect. Without a mounted /proc there is only the directory's
// own path.
func (p *place) bindPath() string {
	at := descriptor(p.dir)
	if _, err := os.Stat(at); err != nil {
		at = p.path
	}
	return filepath.Join(at, p.name)
}

// beforeBind gives a socket the mode that the file will have (unix(7)). The umask may
// take bits away.
func beforeBind(mode uint32) func(network, address string, conn syscall.RawConn) error {
	return func(_, _ string, conn syscall.RawConn) (err error) {
		controlErr := conn.Control(func(fd uintptr) { err = sys.Fchmod(int(fd), mode) })
		return errors.Join(err, controlErr)
	}
}

// settle gives the socket its group, and the bits of its mode that the umask
// took away.
func (p *place) settle(mode uint32, gid int) error {
	fd, err := sys.Openat(p.dir, p.name, sys.O_PATH|sys.O_NOFOLLOW|sys.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer sys.Close(fd) //nolint:errcheck // nothing was written
	var stat sys.Stat_t
	if err := sys.Fstat(fd, &stat); err != nil {
		return err
	}
	// A second link would mean that the socket is from elsewhere and only looks
	// new.
	if stat.Mode&sys.S_IFMT != sys.S_IFSOCK || int(stat.Uid) != os.Geteuid() || stat.Nlink != 1 {
		return errReplaced
	}
	if gid != nobody {
		if err := sys.Fchownat(fd, "", -1, gid, sys.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if stat.Mode&0o777 == mode {
		return nil
	}
	if sys.Fchmodat(fd, "", mode, sys.AT_EMPTY_PATH) == nil { // Linux 6.6
		return nil
	}
	return os.Chmod(descriptor(fd), os.FileMode(mode))
}
