// Package secure authenticates the other end of a connection: by one-time
// certificates that are pinned both ways, by the user's own TLS configuration,
// or by the peer's user as the kernel names it. It presents each as gRPC
// TransportCredentials, so that a slow handshake never blocks Accept and a
// handler finds the right AuthInfo. No other package does TLS.
package secure

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Info is the AuthInfo of every connection: what this side knows about the
// other.
type Info struct {
	credentials.CommonAuthInfo
	// Security is one of the handshake.Security values.
	Security string
	// UID is the peer's user if the kernel named it, else -1.
	UID int
	// TLS is the state of the connection, nil without TLS.
	TLS *tls.ConnectionState
	// Owner is the side of the session that accepted the connection. The
	// credentials were made with it. It is here because grpc carries only this
	// value from a connection into a call's context at no cost to the call.
	Owner any
	// Conn serves the calls on the connection, if it has to know which calls
	// these are. It is here for the same reason as Owner.
	Conn any
}

// AuthType implements [credentials.AuthInfo].
func (i Info) AuthType() string { return i.Security }

// FromContext returns the Info about the caller of a handler.
func FromContext(ctx context.Context) (Info, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Info{}, false
	}
	info, ok := p.AuthInfo.(Info)
	return info, ok
}

// Credentials authenticate both roles of a connection.
type Credentials struct {
	security string
	owner    any
	config   *tls.Config // nil if there is no TLS
	client   func(ctx context.Context, conn net.Conn) (net.Conn, Info, error)
	server   func(conn net.Conn) (net.Conn, Info, error)
}

var _ credentials.TransportCredentials = (*Credentials)(nil)

// WithOwner returns a copy whose Info carries owner.
func (c *Credentials) WithOwner(owner any) *Credentials {
	d := *c
	d.owner = owner
	return &d
}

// Security is one of the handshake.Security values.
func (c *Credentials) Security() string { return c.security }

// ClientHandshake implements [credentials.TransportCredentials].
func (c *Credentials) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.complete(c.client(ctx, conn))
}

// ServerHandshake implements [credentials.TransportCredentials]. grpc puts a
// deadline on conn before it calls this.
func (c *Credentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.complete(c.server(conn))
}

func (c *Credentials) complete(conn net.Conn, info Info, err error) (net.Conn, credentials.AuthInfo, error) {
	if err != nil {
		return nil, nil, err
	}
	info.Security = c.security
	info.Owner = c.owner
	return conn, info, nil
}

// Info implements [credentials.TransportCredentials].
func (c *Credentials) Info() credentials.ProtocolInfo {
	protocol := c.security
	if c.isTLS() {
		protocol = "tls" // makes grpc send https as the scheme
	}
	return credentials.ProtocolInfo{SecurityProtocol: protocol}
}

// Clone implements [credentials.TransportCredentials]. Credentials are
// immutable, so it returns the same value.
func (c *Credentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements [credentials.TransportCredentials]. The name
// is fixed by the handshake: it does nothing.
func (c *Credentials) OverrideServerName(string) error { return nil }
