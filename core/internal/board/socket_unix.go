//go:build unix

package board

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// Supported says whether this system has the endpoint.
const Supported = true

// socketSuffix ends the names of sockets that listen. A reader looks at no others.
const socketSuffix = ".sock"

// maxStale bounds how many sockets of others a host looks at when it opens its own.
const maxStale = 64

// maxPath is the longest path of a socket in bytes. The system keeps a byte for its end.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// staleTimeout bounds how long it waits for one of them. Connecting on one machine takes
// microseconds, or fails.
const staleTimeout = 100 * time.Millisecond

// socket is a listener on a unix socket.
type socket struct {
	net.Listener
	path string
}

// listen makes the socket of this process, in the directory that all hosts of the user
// share. Its name has the number of the process for people, and a random part: a reader
// that removes a stale socket never removes a new one.
func listen() (*socket, error) {
	dir, err := privdir.Common()
	if err != nil {
		return nil, err
	}
	removeStale(dir)
	name := fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:8])
	// The socket gets its name when it listens, because readers take one that refuses
	// connections for stale.
	hidden, path := filepath.Join(dir, "."+name), filepath.Join(dir, name+socketSuffix)
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path %s has %d bytes, and that of a socket at most %d: set XDG_RUNTIME_DIR or TMPDIR to a shorter directory", path, len(path), maxPath)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: hidden})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	ln.SetUnlinkOnClose(false)
	if err = os.Chmod(hidden, 0o600); err == nil {
		err = os.Rename(hidden, path)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close(), os.Remove(hidden))
	}
	return &socket{ln, path}, nil
}

// remove removes the socket's name. An error means that a person has done so.
func (s *socket) remove() { _ = os.Remove(s.path) }

// removeStale removes the sockets of hosts that were killed. A host that nobody watches
// may be killed often.
func removeStale(dir string) {
	f, err := os.Open(dir) //nolint:gosec // it is this user's
	if err != nil {
		return // listen says why
	}
	entries, _ := f.ReadDir(maxStale) // fewer than there are will do
	_ = f.Close()                     // opened for reading
	for _, e := range entries {
		name := e.Name()
		if e.Type() != fs.ModeSocket || !strings.HasSuffix(name, socketSuffix) { // connecting to a file is refused too
			continue
		}
		path := filepath.Join(dir, name)
		conn, err := (&net.Dialer{Timeout: staleTimeout}).DialContext(context.Background(), "unix", path)
		switch {
		case err == nil:
			_ = conn.Close() // nothing was written
		case errors.Is(err, syscall.ECONNREFUSED):
			_ = os.Remove(path) // another host may have done it
		}
	}
}

// isOwn reports whether a reader is a process of this user or of root. Root can read this
// process's memory anyway. Where the kernel does not name the user, the directory protects
// the socket.
func isOwn(conn net.Conn) bool {
	if !secure.PeerCredSupported {
		return true
	}
	_, _, err := secure.PeerCred(os.Geteuid()).Server(conn)
	return err == nil
}
