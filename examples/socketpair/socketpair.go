//go:build unix

// Package socketpair is an example of your own transport, in one file: a pair
// of connected unix sockets, made before the plugin starts. The plugin inherits
// one of the two, so there is no address, no file, and nothing that another
// process could connect to.
//
// Give [New] to host.WithTransports and plugin.WithTransports.
package socketpair

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/plugwire/plugwire/core/transport"
)

// Name is the transport's name on the wire.
const Name = "socketpair"

// version is the version that this module speaks: one inherited stream socket,
// on which nothing precedes the session's first byte.
const version = 1

// Transport is socketpair/1. It holds nothing and is safe for concurrent use.
type Transport struct{}

var _ transport.Preparer = (*Transport)(nil)

// New returns the transport.
func New() *Transport { return &Transport{} }

// Name implements [transport.Transport].
func (*Transport) Name() string { return Name }

// Versions implements [transport.Transport].
func (*Transport) Versions() []int { return []int{version} }

// Prepare implements [transport.Preparer]: the host's side, before the start.
func (*Transport) Prepare(context.Context, transport.PrepareConfig) (*transport.PreparedStart, error) {
	// Until both are marked, no other process may be started: it would inherit
	// them, and neither side would ever see the other's end.
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", os.NewSyscallError("socketpair", err))
	}
	plugins := os.NewFile(uintptr(fds[1]), "socketpair of the plugin")
	conn, err := connOf(os.NewFile(uintptr(fds[0]), "socketpair of the host"))
	if err != nil {
		return nil, errors.Join(err, plugins.Close())
	}
	return &transport.PreparedStart{Files: []*os.File{plugins}, Conn: conn}, nil
}

// Listen implements [transport.Transport]: the plugin's side. cfg.Files is what
// Prepare made, inherited.
func (*Transport) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	var err error
	switch {
	case cfg.Version != version:
		err = fmt.Errorf("socketpair: version %d: only %d is known", cfg.Version, version)
	case len(cfg.Files) != 1:
		err = fmt.Errorf("socketpair: %d files were inherited, want 1", len(cfg.Files))
	case ctx.Err() != nil:
		err = fmt.Errorf("socketpair: listen: %w", ctx.Err())
	}
	if err != nil {
		for _, file := range cfg.Files { // Listen owns the files, also on an error
			err = errors.Join(err, file.Close())
		}
		return nil, err
	}
	conn, err := connOf(cfg.Files[0])
	if err != nil {
		return nil, err
	}
	l := &listener{addr: conn.LocalAddr(), conns: make(chan net.Conn, 1)}
	l.conns <- conn
	return l, nil
}

// Dial implements [transport.Transport]. There is no address to dial.
func (*Transport) Dial(context.Context, transport.DialConfig) (net.Conn, error) {
	return nil, fmt.Errorf("socketpair: dial: %w", errors.ErrUnsupported)
}

// connOf returns the connection of the socket in file, and closes file.
func connOf(file *os.File) (net.Conn, error) {
	conn, err := net.FileConn(file) // the connection has a new descriptor
	if err = errors.Join(err, file.Close()); err != nil {
		if conn != nil {
			err = errors.Join(err, conn.Close())
		}
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	return conn, nil
}

// listener yields its one connection.
type listener struct {
	addr  net.Addr
	conns chan net.Conn // holds the connection until it is accepted
	once  sync.Once     // closes conns
}

// Accept implements [net.Listener]. After the connection it waits for Close.
func (l *listener) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, fmt.Errorf("socketpair: accept: %w", net.ErrClosed)
}

// Close implements [net.Listener]. It closes a connection that was not
// accepted.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.conns)
		for conn := range l.conns {
			err = conn.Close()
		}
	})
	return err
}

// Addr implements [net.Listener]. It has a network, "unix", and no name.
func (l *listener) Addr() net.Addr { return l.addr }
