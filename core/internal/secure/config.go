package secure

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/plugwire/plugwire/core/transport"
)

// TLSConfig returns the configuration, not a copy, for a transport that does
// TLS itself, as client or as server. It returns nil for credentials without
// TLS.
func (c *Credentials) TLSConfig() *tls.Config { return c.config }

// ByTransport returns credentials for the streams of a transport that was given
// [Credentials.TLSConfig]. They do no TLS of their own, and check once more that
// the transport has accepted the right peer.
func (c *Credentials) ByTransport() *Credentials {
	check := func(conn net.Conn) (net.Conn, Info, error) {
		secured, ok := conn.(transport.SecureConn)
		if !ok {
			return nil, Info{}, fmt.Errorf("a %T does not tell its TLS state", conn)
		}
		state := secured.ConnectionState()
		if !state.HandshakeComplete || c.config == nil {
			return nil, Info{}, fmt.Errorf("a %T came without its TLS handshake", conn)
		}
		if verify := c.config.VerifyConnection; verify != nil {
			if err := verify(state); err != nil {
				return nil, Info{}, err
			}
		}
		return conn, infoOf(&state), nil
	}
	return c.with(check)
}

// Known returns credentials for the streams of a connection whose peer is known
// already. Each stream returns info.
func Known(info Info) *Credentials {
	c := &Credentials{security: info.Security, owner: info.Owner}
	return c.with(func(conn net.Conn) (net.Conn, Info, error) { return conn, info, nil })
}

// with returns a copy that authenticates both roles by check. check must not
// block.
func (c *Credentials) with(check func(net.Conn) (net.Conn, Info, error)) *Credentials {
	d := *c
	d.client = func(_ context.Context, conn net.Conn) (net.Conn, Info, error) { return check(conn) }
	d.server = check
	return &d
}

func infoOf(state *tls.ConnectionState) Info {
	return Info{UID: -1, TLS: state}
}
