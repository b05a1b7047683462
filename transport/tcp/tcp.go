// Package tcp is the transport over TCP, tcp/1: go-plugin speaks it, and it
// works on every system. The kernel does not identify the peer, so Plugwire
// uses mutual TLS on it.
//
// Give [New] to host.WithTransports and plugin.WithTransports.
package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/plugwire/plugwire/core/transport"
)

// Name is the transport's name on the wire.
const Name = "tcp"

// version is the version that this module speaks. The address is an IP address
// and a port, and nothing precedes the session's first byte.
const version = 1

// Transport is tcp/1. It holds only its options and is safe for concurrent use.
type Transport struct{ listenAddress string }

var _ transport.Transport = (*Transport)(nil)

// An Option changes what [New] returns.
type Option interface{ apply(*Transport) }

type optionFunc func(*Transport)

func (f optionFunc) apply(t *Transport) { f(t) }

// WithListenAddress sets where a plugin listens: an IP address of its machine
// and a port, such as "127.0.0.1:7000" or, for the loopback of IPv6, "[::1]:0".
// The default is "127.0.0.1:0". A port other than 0 is used whatever range the
// host asks for. Port 0 is the first free port of that range, or, without a
// range, a port that the system chooses.
//
// Every process that can reach the address can try to connect, so an address
// outside the loopback opens the plugin to the network. Listen reports an
// address that is not valid. A host has no use for the option.
func WithListenAddress(address string) Option {
	return optionFunc(func(t *Transport) { t.listenAddress = address })
}

// New returns the transport.
func New(opts ...Option) *Transport {
	t := &Transport{listenAddress: "127.0.0.1:0"}
	for _, o := range opts {
		o.apply(t)
	}
	return t
}

// Name implements [transport.Transport].
func (*Transport) Name() string { return Name }

// Versions implements [transport.Transport].
func (*Transport) Versions() []int { return []int{version} }

// Listen implements [transport.Transport]. It listens where [WithListenAddress]
// says. The search of a range begins at a random port, so that plugins which
// start together seldom try the same port. A range that begins with 0 leaves
// the choice to the system, as in go-plugin. The listener is a
// *net.TCPListener.
func (t *Transport) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	if cfg.Version != version {
		return nil, fmt.Errorf("tcp: version %d: only %d is known", cfg.Version, version)
	}
	if err := ctx.Err(); err != nil { // net checks ctx only while it waits
		return nil, fmt.Errorf("tcp: listen: %w", err)
	}
	addr, err := parseAddress(t.listenAddress)
	if err != nil {
		return nil, fmt.Errorf("tcp: WithListenAddress: %w", err)
	}
	if addr.Port() == 0 && cfg.MinPort != 0 {
		return listenInRange(ctx, addr.Addr(), cfg.MinPort, cfg.MaxPort)
	}
	ln, err := listen(ctx, addr)
	switch {
	case err == nil:
		return ln, nil
	case addr.Port() != 0 && unavailable(err):
		return nil, fmt.Errorf("tcp: port %d is not available: %w: give WithListenAddress another port, or 0 for a free one", addr.Port(), err)
	default:
		return nil, fmt.Errorf("tcp: %w", err)
	}
}

// Dial implements [transport.Transport]. The address is an IP address and a
// port; names are never resolved. The connection is a *net.TCPConn with net's
// defaults: it sends each write without delay, and keeps an idle connection
// alive.
func (*Transport) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	if cfg.Version != version {
		return nil, fmt.Errorf("tcp: version %d: only %d is known", cfg.Version, version)
	}
	if err := transport.CheckAddress(cfg.Address); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	addr, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	if addr.Port() == 0 {
		return nil, fmt.Errorf("tcp: no process can listen on port 0 of %s", addr)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	return conn, nil
}

// parseAddress parses an address that means the same to both sides. An address
// with a zone does not: it names an interface of one machine. Nor does 0.0.0.0,
// which to a listener is every address.
func parseAddress(s string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return addr, fmt.Errorf("%q is not an IP address and a port, such as 127.0.0.1:7000 or [::1]:7000", s)
	case addr.Addr().Zone() != "":
		return addr, fmt.Errorf("%q has a zone, which names an interface of one machine and means nothing to another", s)
	case addr.Addr().Unmap().IsUnspecified():
		return addr, fmt.Errorf("%q is not an address of one machine, such as 127.0.0.1 or ::1", s)
	}
	return addr, nil
}
