//go:build unix

package unix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	sys "golang.org/x/sys/unix"
)

// place is a name in an open directory.
type place struct {
	dir  int
	path string
	name string
}

// openPlace opens the directory. The directory may be a symbolic link that the
// host's user made: a new socket for this user alone harms no directory.
func openPlace(dir, name string) (*place, error) {
	fd, err := sys.Open(dir, openOnly|sys.O_DIRECTORY|sys.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &place{fd, dir, name}, nil
}

func (p *place) close() error { return sys.Close(p.dir) }

// remove removes the file of that name. It is the socket, unless a user who may write
// in the directory has replaced the socket.
func (p *place) remove() error {
	if err := sys.Unlinkat(p.dir, p.name, 0); !errors.Is(err, sys.ENOENT) {
		return err
	}
	return nil
}

// bind listens on a new socket with the mode, for a group unless the group is
// nobody.
func (p *place) bind(ctx context.Context, mode uint32, gid int) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: beforeBind(mode)}
	bound, err := lc.Listen(ctx, "unix", p.bindPath())
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // the address in err names a descriptor, which means nothing to a reader
		}
		return nil, err
	}
	ln := bound.(*net.UnixListener)
	ln.SetUnlinkOnClose(false) // net would remove it by the path
	if err := p.settle(mode, gid); err != nil {
		return nil, errors.Join(fmt.Errorf("permissions of the socket: %w", err), ln.Close(), p.remove())
	}
	return ln, nil
}

var errReplaced = errors.New("another process has put something in the place of the new socket")
