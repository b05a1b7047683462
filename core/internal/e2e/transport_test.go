//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// pigeon is a transport that no plugin has.
type pigeon struct{}

var _ transport.Transport = pigeon{}

var unixTransport = unix.New()

func (pigeon) Name() string    { return "pigeon" }
func (pigeon) Versions() []int { return []int{1, 2} }

func (pigeon) Listen(context.Context, transport.ListenConfig) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

func (pigeon) Dial(context.Context, transport.DialConfig) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// silentSocket returns the path of a socket that never accepts.
func silentSocket(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "silent-") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	ln, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(ln.Close(), os.Remove(dir)); err != nil {
			tb.Error(err)
		}
	})
	return path
}
