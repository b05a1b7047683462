// Package secure authenticates the other end of a connection. It does so by one-time
// certificates that are pinned both ways, by the user's own TLS configuration, or by
// the peer's user that the kernel names. No other package does TLS.
package secure

import (
	"context"
	"crypto/tls"
	"net"
)

// Info is what this side knows about the other end of a connection.
type Info struct {
	// Security is one of the handshake.Security values.
	Security string
	// UID is the peer's user if the kernel named it, else -1.
	UID int
	// TLS is the state of the connection, nil without TLS.
	TLS *tls.ConnectionState
	// Owner belongs to the side that accepted the connection. Handlers of calls on the
	// connection find it by their context, at no cost to the call.
	Owner any
}

// Credentials authenticate both roles of a connection. They are immutable.
type Credentials struct {
	security string
	owner    any
	config   *tls.Config // nil without TLS
	client   func(ctx context.Context, conn net.Conn) (net.Conn, Info, error)
	server   func(conn net.Conn) (net.Conn, Info, error)
}

// WithOwner returns a copy whose Info carries owner.
func (c *Credentials) WithOwner(owner any) *Credentials {
	d := *c
	d.owner = owner
	return &d
}

// Security is one of the handshake.Security values.
func (c *Credentials) Security() string { return c.security }

// Client authenticates both sides of a connection that this side has dialed. The
// context bounds only that. With an error, conn is still the caller's.
func (c *Credentials) Client(ctx context.Context, conn net.Conn) (net.Conn, Info, error) {
	return c.complete(c.client(ctx, conn))
}

// Server authenticates both sides of a connection that this side has accepted. Set a
// deadline on conn first. With an error, conn is still the caller's.
func (c *Credentials) Server(conn net.Conn) (net.Conn, Info, error) {
	return c.complete(c.server(conn))
}

func (c *Credentials) complete(conn net.Conn, info Info, err error) (net.Conn, Info, error) {
	if err != nil {
		return nil, Info{}, err
	}
	info.Security, info.Owner = c.security, c.owner
	return conn, info, nil
}
