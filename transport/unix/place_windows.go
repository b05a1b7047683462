package unix

import (
	"context"
	"net"
	"path/filepath"
)

// place is a name in a directory. Files have no modes and no groups here.
type place struct{ path string }

func openPlace(dir, name string) (*place, error) { return &place{filepath.Join(dir, name)}, nil }

func (*place) close() error { return nil }

// remove does nothing: net removes the socket.
func (*place) remove() error { return nil }

func (p *place) bind(ctx context.Context, _ uint32, _ int) (*net.UnixListener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", p.path)
	if err != nil {
		return nil, err
	}
	return ln.(*net.UnixListener), nil
}
