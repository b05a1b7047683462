package transporttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/plugwire/plugwire/core/transport"
)

// toy is a correct transport: TCP on the loopback interface, in two versions
// that are the same.
type toy struct{}

func (toy) Name() string    { return "toy" }
func (toy) Versions() []int { return []int{1, 2} }

func (t toy) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	if !slices.Contains(t.Versions(), cfg.Version) {
		return nil, fmt.Errorf("toy: version %d is not known", cfg.Version)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("toy: %w", err)
	}
	var lc net.ListenConfig
	if cfg.MinPort == 0 {
		return lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	var taken []error
	for port := cfg.MinPort; port <= cfg.MaxPort; port++ {
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return ln, nil
		}
		taken = append(taken, err)
	}
	return nil, errors.Join(taken...)
}

func (t toy) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	if !slices.Contains(t.Versions(), cfg.Version) {
		return nil, fmt.Errorf("toy: version %d is not known", cfg.Version)
	}
	if err := transport.CheckAddress(cfg.Address); err != nil {
		return nil, fmt.Errorf("toy: %w", err)
	}
	if _, err := netip.ParseAddrPort(cfg.Address); err != nil {
		return nil, fmt.Errorf("toy: %w", err)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", cfg.Address)
}

// broken is the toy with parts replaced. For a nil part the toy's is used.
type broken struct {
	toy
	name     string
	versions []int
	listen   func(context.Context, transport.ListenConfig) (net.Listener, error)
	dial     func(context.Context, transport.DialConfig) (net.Conn, error)
	// listener wraps the result of Listen, conn those of Dial and Accept.
	listener func(net.Listener) net.Listener
	conn     func(net.Conn) net.Conn
}

func (b *broken) Name() string {
	if b.name != "" {
		return b.name
	}
	return b.toy.Name()
}

func (b *broken) Versions() []int {
	if b.versions != nil {
		return b.versions
	}
	return b.toy.Versions()
}

func (b *broken) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	listen := b.toy.Listen
	if b.listen != nil {
		listen = b.listen
	}
	ln, err := listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if b.conn != nil {
		accept := ln.Accept
		ln = &brokenListener{Listener: ln, accept: func() (net.Conn, error) {
			conn, err := accept()
			if err != nil {
				return nil, err
			}
			return b.conn(conn), nil
		}}
	}
	if b.listener != nil {
		ln = b.listener(ln)
	}
	return ln, nil
}

func (b *broken) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	dial := b.toy.Dial
	if b.dial != nil {
		dial = b.dial
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if b.conn != nil {
		conn = b.conn(conn)
	}
	return conn, nil
}

// brokenListener is a listener with methods replaced. For a nil one the
// listener's own is used.
type brokenListener struct {
	net.Listener
	accept  func() (net.Conn, error)
	close   func() error
	address func() string
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.accept != nil {
		return l.accept()
	}
	return l.Listener.Accept()
}

func (l *brokenListener) Close() error {
	if l.close != nil {
		return l.close()
	}
	return l.Listener.Close()
}

func (l *brokenListener) Addr() net.Addr {
	if l.address != nil {
		return address(l.address())
	}
	return l.Listener.Addr()
}

type address string

func (address) Network() string  { return "toy" }
func (a address) String() string { return string(a) }

// brokenConn is a connection with methods replaced. For a nil one the
// connection's own is used.
type brokenConn struct {
	net.Conn    // hides the methods that io.Copy would use instead of Read and Write
	read, write func([]byte) (int, error)
	close       func() error
	closeWrite  func() error
}

func (c *brokenConn) Read(p []byte) (int, error) {
	if c.read != nil {
		return c.read(p)
	}
	return c.Conn.Read(p)
}

func (c *brokenConn) Write(p []byte) (int, error) {
	if c.write != nil {
		return c.write(p)
	}
	return c.Conn.Write(p)
}

func (c *brokenConn) Close() error {
	if c.close != nil {
		return c.close()
	}
	return c.Conn.Close()
}

func (c *brokenConn) CloseWrite() error {
	if c.closeWrite != nil {
		return c.closeWrite()
	}
	return c.Conn.(*net.TCPConn).CloseWrite()
}
