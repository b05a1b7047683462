// Package unix is the transport over unix domain sockets, unix/1: what
// go-plugin speaks, and the first choice wherever host and plugin share a
// machine. The kernel vouches for the peer, so Plugwire needs no encryption on
// it.
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
	"sync"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

// Name is the transport's name on the wire.
const Name = "unix"

// version is the one that this module speaks: the address is the path of a
// stream socket, and nothing precedes the session's first byte.
const version = 1

// maxPath is the longest path that this system can bind: 107 bytes on Linux,
// 103 on macOS.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Transport is unix/1. It holds nothing and is safe for concurrent use.
type Transport struct{}

var _ transport.Transport = (*Transport)(nil)

// New returns the transport.
func New() *Transport { return &Transport{} }

// Name implements [transport.Transport].
func (*Transport) Name() string { return Name }

// Versions implements [transport.Transport].
func (*Transport) Versions() []int { return []int{version} }

// Listen implements [transport.Transport]. The socket is made in cfg.Dir, or,
// when that is empty, in a directory of its own that Close removes; cfg.Group may
// use it too. Connections are *net.UnixConn.
func (*Transport) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	if cfg.Version != version {
		return nil, fmt.Errorf("unix: version %d: only %d is known", cfg.Version, version)
	}
	if err := ctx.Err(); err != nil { // net looks at it only while it waits
		return nil, fmt.Errorf("unix: listen: %w", err)
	}
	gid, err := groupID(cfg.Group)
	if err != nil {
		return nil, fmt.Errorf("unix: group for the socket: %w", err)
	}
	dir, own := cfg.Dir, ""
	if dir == "" {
		if dir, err = os.MkdirTemp("", "plugin-"); err != nil {
			return nil, fmt.Errorf("unix: directory for the socket: %w", err)
		}
		own = dir
		err = share(dir, gid, 0o700, 0o710)
	}
	var ln *net.UnixListener
	if err == nil {
		ln, err = listen(ctx, dir, gid)
	}
	if err != nil {
		if own != "" {
			err = errors.Join(err, os.Remove(own))
		}
		return nil, err
	}
	return &listener{UnixListener: ln, dir: own}, nil
}

// nobody is the group of a socket that is its owner's alone.
const nobody = -1

// groupID returns the number of a group, numbers first, as go-plugin has it
// (server.go there).
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

// share gives path the mode alone, or with a group the mode shared.
func share(path string, gid int, alone, shared os.FileMode) error {
	if gid == nobody {
		return os.Chmod(path, alone)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return err
	}
	return os.Chmod(path, shared)
}

func listen(ctx context.Context, dir string, gid int) (*net.UnixListener, error) {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails, by its contract
	path, err := filepath.Abs(filepath.Join(dir, "plugin-"+hex.EncodeToString(random[:])))
	if err != nil {
		return nil, fmt.Errorf("unix: directory for the socket: %w", err)
	}
	if err := transport.CheckAddress(path); err != nil {
		return nil, fmt.Errorf("unix: the path of the socket: %w: set XDG_RUNTIME_DIR or TMPDIR of the host to another directory", err)
	}
	if len(path) > maxPath {
		return nil, fmt.Errorf("unix: the socket's path %s is %d bytes long, and this system allows %d: set XDG_RUNTIME_DIR or TMPDIR of the host to a shorter directory", path, len(path), maxPath)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("unix: %w", err)
	}
	// The directory is the fence; this is for one that a foreign host made.
	if err := share(path, gid, 0o600, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("unix: %w", err), ln.Close())
	}
	return ln.(*net.UnixListener), nil
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
		return nil, fmt.Errorf("unix: %w", err)
	}
	return conn, nil
}

// A listener's queue is full when it has not been scheduled while some hundred
// connections were dialed (net.core.somaxconn). Linux then refuses another at once,
// where TCP asks again: so does a dial here, every fullRetry for fullTimeout.
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
		case full == nil || !isTimeout(err): // which says less than that there was no room
			return conn, err
		}
		select {
		case <-wait.Done():
			return nil, fmt.Errorf("%w: nobody accepts the connections that wait: %w", full, context.Cause(wait))
		case <-time.After(fullRetry):
		}
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// listener removes the directory that Listen made, if it made one. The socket
// itself is removed by net.
type listener struct {
	*net.UnixListener
	dir       string
	closeOnce sync.Once
	closeErr  error
}

// Close implements [net.Listener]. A second call returns the same.
func (l *listener) Close() error {
	l.closeOnce.Do(func() {
		l.closeErr = l.UnixListener.Close()
		if l.dir != "" {
			l.closeErr = errors.Join(l.closeErr, os.Remove(l.dir))
		}
	})
	return l.closeErr
}
