package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

// listener is the plugin's side of all its connections. They share its socket,
// which is closed with the last connection.
type listener struct {
	socket *net.UDPConn
	tr     *quic.Transport
	quic   *quic.Listener
	limits limits

	streams chan *stream       // handed to Accept
	closed  <-chan struct{}    // closed by Close
	end     context.CancelFunc // closes closed
	running sync.WaitGroup     // runs acceptConns
	close   func() error       // closes the listener once
	conns   atomic.Int32       // connections and handshakes

	unused chan struct{} // closed with the socket
	mu     sync.Mutex    // guards users
	users  int           // users of the socket: the listener until Close, and each connection
}

var _ transport.Lingerer = (*listener)(nil)

// bind opens the socket.
func (t *Transport) bind(ctx context.Context, cfg transport.ListenConfig) (*net.UDPConn, error) {
	address, err := parseAddress(t.listenAddress)
	if err != nil {
		return nil, fmt.Errorf("quic: listen: %w", err)
	}
	if address.Port() != 0 || cfg.MinPort == 0 && cfg.MaxPort == 0 {
		socket, err := listenUDP(ctx, address)
		if err != nil {
			return nil, fmt.Errorf("quic: %w", err)
		}
		return socket, nil
	}
	if cfg.MinPort < 1 || cfg.MaxPort > 65535 || cfg.MinPort > cfg.MaxPort {
		return nil, fmt.Errorf("quic: listen: there are no ports %d to %d", cfg.MinPort, cfg.MaxPort)
	}
	for port := cfg.MinPort; port <= cfg.MaxPort && ctx.Err() == nil; port++ {
		var socket *net.UDPConn
		socket, err = listenUDP(ctx, netip.AddrPortFrom(address.Addr(), uint16(port))) //nolint:gosec // checked above
		if err == nil {
			return socket, nil
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, fmt.Errorf("quic: no free port from %d to %d: %w", cfg.MinPort, cfg.MaxPort, err)
}

func listenUDP(ctx context.Context, address netip.AddrPort) (*net.UDPConn, error) {
	network := "udp"
	if address.Addr().Is4() {
		network = "udp4" // else 0.0.0.0 is [::]
	}
	var lc net.ListenConfig
	socket, err := lc.ListenPacket(ctx, network, address.String())
	if err != nil {
		return nil, err
	}
	return socket.(*net.UDPConn), nil
}

// listen starts to accept connections. The listener owns the socket, unless
// there is an error.
func (t *Transport) listen(socket *net.UDPConn, tlsConfig *tls.Config) (*listener, error) {
	ctx, end := context.WithCancel(context.Background())
	l := &listener{
		socket: socket, limits: t.limits,
		streams: make(chan *stream), closed: ctx.Done(), end: end,
		users: 1, unused: make(chan struct{}),
	}
	l.close = sync.OnceValue(l.closeAll)
	l.tr = &quic.Transport{
		Conn:                             coalesce(peer{socket, false}),
		ConnContext:                      l.admit,
		DisableVersionNegotiationPackets: true, // host and plugin have agreed on a version before
	}
	enlargeBuffers(socket)
	cfg := t.config(socket.LocalAddr().(*net.UDPAddr).AddrPort().Addr())
	cfg.MaxIncomingStreams = t.limits.streams + 1 // the control stream
	var err error
	if l.quic, err = l.tr.Listen(tlsConfig, cfg); err != nil {
		end()
		return nil, err
	}
	l.running.Go(func() { l.acceptConns(ctx) })
	return l, nil
}

// admit refuses handshakes while there are too many connections.
func (l *listener) admit(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	if l.conns.Add(1) > maxConns {
		l.conns.Add(-1)
		return nil, errors.New("too many connections")
	}
	context.AfterFunc(ctx, func() { l.conns.Add(-1) })
	return ctx, nil
}

// acceptConns serves connections, whose handshake is over, until the listener
// is closed.
func (l *listener) acceptConns(ctx context.Context) {
	for {
		conn, err := l.quic.Accept(context.Background())
		if err != nil {
			return
		}
		l.mu.Lock()
		l.users++
		l.mu.Unlock()
		go func() {
			defer func() { _ = l.release() }() // the socket is closed and unused
			l.serve(ctx, conn)
		}()
	}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case s := <-l.streams:
		return s, nil
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Close implements [net.Listener]. A second call returns the same.
func (l *listener) Close() error { return l.close() }

func (l *listener) closeAll() error {
	l.end()
	err := l.quic.Close() // refuses handshakes that are under way
	l.running.Wait()
	return errors.Join(err, l.release())
}

// release closes the socket when nothing uses it any more.
func (l *listener) release() error {
	l.mu.Lock()
	l.users--
	last := l.users == 0
	l.mu.Unlock()
	if !last {
		return nil
	}
	defer close(l.unused)
	return errors.Join(l.tr.Close(), l.socket.Close())
}

// Linger implements [transport.Lingerer].
func (l *listener) Linger(ctx context.Context) {
	select {
	case <-l.unused:
	case <-ctx.Done():
	}
}

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: Name, Addr: l.Addr(), Err: err}
}
