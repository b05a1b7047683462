package transporttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/plugwire/plugwire/core/transport"
)

// preparedToy is a correct Preparer: the two ends of a TCP connection over the
// loopback interface.
type preparedToy struct{}

func (preparedToy) Name() string    { return "toy" }
func (preparedToy) Versions() []int { return []int{1} }

func (preparedToy) Dial(context.Context, transport.DialConfig) (net.Conn, error) {
	return nil, fmt.Errorf("toy: dial: %w", errors.ErrUnsupported)
}

func (preparedToy) Prepare(ctx context.Context, _ transport.PrepareConfig) (_ *transport.PreparedStart, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ln.Close()) }()
	var d net.Dialer
	host, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	plugin, err := ln.Accept()
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	file, err := plugin.(*net.TCPConn).File()
	if err = errors.Join(err, plugin.Close()); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return &transport.PreparedStart{Files: []*os.File{file}, Conn: host}, nil
}

func (t preparedToy) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	defer func() {
		for _, file := range cfg.Files {
			file.Close()
		}
	}()
	switch {
	case !slices.Contains(t.Versions(), cfg.Version):
		return nil, fmt.Errorf("toy: version %d is not known", cfg.Version)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("toy: %w", ctx.Err())
	case len(cfg.Files) != 1:
		return nil, fmt.Errorf("toy: %d files, want 1", len(cfg.Files))
	}
	conn, err := net.FileConn(cfg.Files[0])
	if err != nil {
		return nil, err
	}
	l := &oneListener{addr: conn.LocalAddr(), conns: make(chan net.Conn, 1)}
	l.conns <- conn
	return l, nil
}

// oneListener yields one connection.
type oneListener struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once // closes conns
}

func (l *oneListener) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *oneListener) Close() (err error) {
	l.once.Do(func() {
		close(l.conns)
		for conn := range l.conns {
			err = conn.Close()
		}
	})
	return err
}

func (l *oneListener) Addr() net.Addr { return l.addr }

// brokenPreparer is the prepared toy with parts replaced. A nil part is the
// toy's.
type brokenPreparer struct {
	preparedToy
	prepare func() (*transport.PreparedStart, error)
	dial    func() (net.Conn, error)
	listen  func(context.Context, transport.ListenConfig) (net.Listener, error)
}

func (b *brokenPreparer) Prepare(ctx context.Context, cfg transport.PrepareConfig) (*transport.PreparedStart, error) {
	if b.prepare != nil {
		return b.prepare()
	}
	return b.preparedToy.Prepare(ctx, cfg)
}

func (b *brokenPreparer) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	if b.dial != nil {
		return b.dial()
	}
	return b.preparedToy.Dial(ctx, cfg)
}

func (b *brokenPreparer) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	if b.listen != nil {
		return b.listen(ctx, cfg)
	}
	return b.preparedToy.Listen(ctx, cfg)
}
