// Package quic is the transport over QUIC, quic/1: one connection between host
// and plugin with TLS 1.3 of its own, whose streams never block each other, not
// even after the loss of a packet. It is for networks that lose packets; on one
// machine, package unix is faster.
//
// Give [New] to host.WithTransports and plugin.WithTransports.
package quic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

// Name is the transport's name on the wire.
const Name = "quic"

// version is the version that this module speaks. The README describes its
// bytes.
const version = 1

// alpn is the application protocol of every connection (RFC 9001 section 8.1).
const alpn = "plugwire"

// Transport is quic/1. It holds no connection and is safe for concurrent use.
type Transport struct {
	listenAddress string
	limits        limits
}

var _ transport.Native = (*Transport)(nil)

// Option configures [New].
type Option interface{ apply(*Transport) }

type listenAddress string

func (a listenAddress) apply(t *Transport) { t.listenAddress = string(a) }

// WithListenAddress sets where a plugin listens: an IP address and a port, such
// as "[::1]:0". Port 0 stands for a free port from ListenConfig.MinPort to
// MaxPort, or, without these, for a port that the system chooses. The default
// is "127.0.0.1:0". Listen refuses any other address. The host dials the
// address unchanged, so Listen also refuses 0.0.0.0, an address with a zone,
// and names.
func WithListenAddress(address string) Option { return listenAddress(address) }

// New returns the transport.
func New(opts ...Option) *Transport {
	t := &Transport{listenAddress: "127.0.0.1:0", limits: defaultLimits}
	for _, opt := range opts {
		opt.apply(t)
	}
	return t
}

// Name implements [transport.Transport].
func (*Transport) Name() string { return Name }

// Versions implements [transport.Transport].
func (*Transport) Versions() []int { return []int{version} }

// Listen implements [transport.Transport]. cfg.TLS is required. Accept returns
// the streams of all hosts, not always in the order in which they were opened.
func (t *Transport) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	tlsConfig, err := check(cfg.Version, cfg.TLS)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("quic: listen: %w", err)
	}
	socket, err := t.bind(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ln, err := t.listen(socket, tlsConfig)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("quic: listen on %s: %w", socket.LocalAddr(), err), socket.Close())
	}
	warnOfSmallBuffers(socket, cfg.Logger)
	return ln, nil
}

// Dial implements [transport.Transport]: a connection for one stream. Close
// returns at once. The connection then ends when the plugin has closed the
// stream as well, or after half a minute.
func (t *Transport) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	s, err := t.dial(ctx, cfg, oneStream)
	if err != nil {
		return nil, err
	}
	conn, err := s.open(ctx, s.linger)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return conn, nil
}

// DialSession implements [transport.Native]. cfg.TLS is required. When it
// returns, the plugin has accepted the host's certificate, and the host the
// plugin's.
//
// OpenStream waits while 512 streams are open.
func (t *Transport) DialSession(ctx context.Context, cfg transport.DialConfig) (transport.Session, error) {
	s, err := t.dial(ctx, cfg, manyStreams)
	if err != nil {
		return nil, err // avoids a nil *session in an interface
	}
	return s, nil
}

func (t *Transport) dial(ctx context.Context, cfg transport.DialConfig, use byte) (*session, error) {
	tlsConfig, err := check(cfg.Version, cfg.TLS)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckAddress(cfg.Address); err != nil {
		return nil, fmt.Errorf("quic: %w", err)
	}
	address, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("quic: %w", err)
	}
	if address.Port() == 0 {
		return nil, fmt.Errorf("quic: %s has no port", address)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("quic: dial %s: %w", address, err)
	}
	keepAlive := t.limits.keepAlive
	if cfg.Unwatched {
		keepAlive = t.limits.watched
	}
	s, err := t.connect(ctx, address, tlsConfig, keepAlive, use)
	if err != nil {
		return nil, fmt.Errorf("quic: dial %s: %w", address, err)
	}
	warnOfSmallBuffers(s.socket, cfg.Logger)
	return s, nil
}

// check returns the TLS configuration to use.
func check(v int, cfg *tls.Config) (*tls.Config, error) {
	if v != version {
		return nil, fmt.Errorf("quic: version %d: only %d is known", v, version)
	}
	if cfg == nil {
		return nil, errors.New("quic: no TLS configuration: QUIC needs one, and only the caller can tell which peer to accept")
	}
	if cfg.MaxVersion != 0 && cfg.MaxVersion < tls.VersionTLS13 {
		return nil, fmt.Errorf("quic: the TLS configuration (WithTLSConfig) allows at most %s, and QUIC needs TLS 1.3: leave MaxVersion out, or choose another transport", tls.VersionName(cfg.MaxVersion))
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{alpn}
	cfg.MinVersion = tls.VersionTLS13 // RFC 9001 section 4.2
	return cfg, nil
}

// parseAddress parses an IP address and a port that mean the same to both sides:
// to a listener, 0.0.0.0 is every address, and a zone is an interface of one
// machine. It never asks a name server, because the address may come from a
// plugin.
func parseAddress(s string) (netip.AddrPort, error) {
	address, err := netip.ParseAddrPort(s)
	ip := address.Addr()
	if err != nil || ip.IsMulticast() || ip.Zone() != "" || ip.Unmap().IsUnspecified() {
		return netip.AddrPort{}, fmt.Errorf("%.80q is not an IP address of one machine and a port, such as 127.0.0.1:1234", s)
	}
	return address, nil
}

// config returns the configuration of either side of a connection over addr.
func (t *Transport) config(addr netip.Addr) *quic.Config {
	cfg := &quic.Config{
		Versions:                       []quic.Version{quic.Version1},
		HandshakeIdleTimeout:           t.limits.handshake / 2, // quic-go allows twice this time
		MaxIdleTimeout:                 t.limits.idle,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          -1,
	}
	if addr.IsLoopback() {
		cfg.InitialPacketSize = loopbackPacketSize
		cfg.DisablePathMTUDiscovery = true
	}
	return cfg
}
