// Package unix is the transport over unix domain sockets, unix/1: the first
// choice wherever host and plugin share a machine. go-plugin speaks it too. The
// kernel identifies the peer, so Plugwire needs no encryption on it.
//
// Give [New] to host.WithTransports and plugin.WithTransports.
package unix

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

// Name is the transport's name on the wire.
const Name = "unix"

// version is the version that this module speaks. The address is the path of a
// stream socket, and nothing precedes the session's first byte.
const version = 1

// maxPath is the longest path that this system can bind: 107 bytes on Linux,
// 103 on macOS.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Transport is unix/1. It holds nothing and is safe for concurrent use.
type Transport struct{}

var _ transport.DirUser = (*Transport)(nil)

// New returns the transport.
func New() *Transport { return &Transport{} }

// Name implements [transport.Transport].
func (*Transport) Name() string { return Name }

// Versions implements [transport.Transport].
func (*Transport) Versions() []int { return []int{version} }

// UsesDir implements [transport.DirUser].
func (*Transport) UsesDir() bool { return true }

// Listen implements [transport.Transport]. The socket is made in cfg.Dir, or,
// when that is empty, in a directory of its own that Close removes; cfg.Group may
// use it too. Connections are *net.UnixConn.
func (*Transport) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	if cfg.Version != version {
		return nil, fmt.Errorf("unix: version %d: only %d is known", cfg.Version, version)
	}
	if err := ctx.Err(); err != nil { // net checks ctx only while it waits
		return nil, fmt.Errorf("unix: listen: %w", err)
	}
	gid, err := groupID(cfg.Group)
	if err != nil {
		return nil, fmt.Errorf("unix: group for the socket: %w", err)
	}
	dir, own := cfg.Dir, ""
	if dir == "" {
		if own, err = makeDir(gid); err != nil {
			return nil, fmt.Errorf("unix: directory for the socket: %w", err)
		}
		dir = own
	}
	ln, err := listen(ctx, dir, gid)
	if err != nil {
		if own != "" {
			err = errors.Join(err, os.Remove(own))
		}
		return nil, err
	}
	ln.own = own
	return ln, nil
}

// makeDir makes the directory for one socket. No other user can put anything in its
// place, so its mode can be set by its path.
func makeDir(gid int) (string, error) {
	base, err := transport.TempDir()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(base, "plugin-")
	if err != nil {
		return "", err
	}
	mode := os.FileMode(0o700)
	if gid != nobody {
		mode = 0o710
		err = os.Lchown(dir, -1, gid)
	}
	if err == nil {
		err = os.Chmod(dir, mode) // whatever the umask is
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// nobody is the group of a socket that only its owner may use.
const nobody = -1

// groupID returns the number of a group. Like go-plugin (server.go there) it
// takes a number for a number first, then for a name.
func groupID(group string) (int, error) {
	if group == "" {
		return nobody, nil
	}
	if gid, err := strconv.Atoi(group); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return nobody, err
	}
	return strconv.Atoi(g.Gid)
}

// listen makes the socket in the directory. Its path may belong to a user with fewer
// rights than this process has: the host's user, or a group that may write there. So
// listen opens the directory once, does everything else by its descriptor, and follows
// no link.
func listen(ctx context.Context, dir string, gid int) (*listener, error) {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails, by its contract
	name := "plugin-" + hex.EncodeToString(random[:])
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("unix: directory for the socket: %w", err)
	}
	if err := transport.CheckAddress(path); err != nil {
		return nil, fmt.Errorf("unix: the path of the socket: %w: set XDG_RUNTIME_DIR or TMPDIR of the host to another directory", err)
	}
	if len(path) > maxPath {
		return nil, fmt.Errorf("unix: the socket's path %q is %d bytes long, and this system allows %d: set XDG_RUNTIME_DIR or TMPDIR of the host to a shorter directory", path, len(path), maxPath)
	}
	p, err := openPlace(filepath.Dir(path), name)
	if err != nil {
		return nil, fmt.Errorf("unix: listen on %q: %w", path, err)
	}
	mode := uint32(0o600)
	if gid != nobody {
		mode = 0o660
	}
	ln, err := p.bind(ctx, mode, gid)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unix: listen on %q: %w", path, err), p.close())
	}
	return &listener{UnixListener: ln, place: p, addr: &net.UnixAddr{Net: "unix", Name: path}}, nil
}

// Dial implements [transport.Transport]. The address is an absolute path. The
// connection is a *net.UnixConn.
func (*Transport) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	if cfg.Version != version {
		return nil, fmt.Errorf("unix: version %d: only %d is known", cfg.Version, version)
	}
	if err := transport.CheckAddress(cfg.Address); err != nil {
		return nil, fmt.Errorf("unix: %w", err)
	}
	if !filepath.IsAbs(cfg.Address) || len(cfg.Address) > maxPath {
		return nil, fmt.Errorf("unix: %q is not an absolute path of at most %d bytes", cfg.Address, maxPath)
	}
	conn, err := dial(ctx, cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("unix: %w", quoteAddress(err))
	}
	return conn, nil
}

// A listener's queue is full when some hundred connections were dialed before the
// listener was scheduled (net.core.somaxconn). Linux then refuses the next
// connection at once, where TCP asks again. So Dial asks again every fullRetry for
// fullTimeout.
const (
	fullRetry   = 5 * time.Millisecond
	fullTimeout = 10 * time.Second
)

func dial(ctx context.Context, path string) (net.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	var d net.Dialer
	var full error
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			full = err
		case full == nil || !isTimeout(err): // says less than that there was no room
			return conn, err
		}
		select {
		case <-wait.Done():
			return nil, fmt.Errorf("%w: the listener's queue is full: %w", full, context.Cause(wait))
		case <-time.After(fullRetry):
		}
	}
}

// quotedAddr is an address of the other side in an error. It must not control a
// terminal.
type quotedAddr struct{ net.Addr }

// String implements [net.Addr].
func (a quotedAddr) String() string { return strconv.Quote(a.Addr.String()) }

// quoteAddress quotes the address in an error of net, unless it is plain text.
func quoteAddress(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Addr == nil || strings.Trim(strconv.Quote(op.Addr.String()), `"`) == op.Addr.String() {
		return err
	}
	op.Addr = quotedAddr{op.Addr}
	return err
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// listener removes on Close the socket, and the directory if Listen made one.
type listener struct {
	*net.UnixListener
	place     *place
	addr      *net.UnixAddr
	own       string
	closeOnce sync.Once
	closeErr  error
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return l.addr }

// Close implements [net.Listener]. A second call returns the same.
func (l *listener) Close() error {
	l.closeOnce.Do(func() {
		l.closeErr = errors.Join(l.UnixListener.Close(), l.place.remove(), l.place.close())
		if l.own != "" {
			l.closeErr = errors.Join(l.closeErr, os.Remove(l.own))
		}
	})
	return l.closeErr
}
