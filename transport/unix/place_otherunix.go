//go:build unix && !linux

package unix

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	sys "golang.org/x/sys/unix"
)

// openOnly opens a directory. This system has no way to open it without reading it.
const openOnly = sys.O_RDONLY

// bindPath returns the path to bind: this system accepts no other.
func (p *place) bindPath() string { return filepath.Join(p.path, p.name) }

// beforeBind does nothing: on this system the mode of a socket does not decide the
// mode of its file.
func beforeBind(uint32) func(network, address string, conn syscall.RawConn) error { return nil }

// settle gives the socket its mode and group, without following a link. Root does not
// do so in a directory that another user may change: that user could put a hard link
// to any file in the socket's place.
func (p *place) settle(mode uint32, gid int) error {
	var dir, stat sys.Stat_t
	if err := errors.Join(sys.Fstat(p.dir, &dir), sys.Fstatat(p.dir, p.name, &stat, sys.AT_SYMLINK_NOFOLLOW)); err != nil {
		return err
	}
	if stat.Mode&sys.S_IFMT != sys.S_IFSOCK || int(stat.Uid) != os.Geteuid() || stat.Nlink != 1 {
		return errReplaced
	}
	if os.Geteuid() == 0 && (dir.Uid != 0 || dir.Mode&0o022 != 0) {
		if gid != nobody {
			return fmt.Errorf("root gives no socket to a group in %s, which other users may change", p.path)
		}
		return nil
	}
	if gid != nobody {
		if err := sys.Fchownat(p.dir, p.name, -1, gid, sys.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	return sys.Fchmodat(p.dir, p.name, mode, sys.AT_SYMLINK_NOFOLLOW)
}
