package ways

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// Unix2 is the transport unix with a second version. In it, the side that dials
// sends one byte before the session's first: the address is the same, and yet
// the versions cannot be confused.
type Unix2 struct{ unix.Transport }

var _ transport.Transport = (*Unix2)(nil)

// Versions implements [transport.Transport].
func (*Unix2) Versions() []int { return []int{1, 2} }

// mark is the first byte of a connection of version 2.
const mark = 2

// Listen implements [transport.Transport].
func (t *Unix2) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	second := cfg.Version == mark
	cfg.Version = min(cfg.Version, 1)
	ln, err := t.Transport.Listen(ctx, cfg)
	if err != nil || !second {
		return ln, err
	}
	return &markedListener{ln}, nil
}

// Dial implements [transport.Transport].
func (t *Unix2) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	second := cfg.Version == mark
	cfg.Version = min(cfg.Version, 1)
	conn, err := t.Transport.Dial(ctx, cfg)
	if err != nil || !second {
		return conn, err
	}
	if _, err := conn.Write([]byte{mark}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

type markedListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l *markedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &markedConn{UnixConn: conn.(*net.UnixConn)}, nil
}

// markedConn reads the mark with its first Read.
type markedConn struct {
	*net.UnixConn
	once sync.Once
	err  error
}

// Read implements [net.Conn].
func (c *markedConn) Read(b []byte) (int, error) {
	c.once.Do(func() {
		var first [1]byte
		if _, c.err = io.ReadFull(c.UnixConn, first[:]); c.err == nil && first[0] != mark {
			c.err = fmt.Errorf("the connection begins with %d, want %d", first[0], mark)
		}
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.UnixConn.Read(b)
}
