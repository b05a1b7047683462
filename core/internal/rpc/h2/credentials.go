package h2

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// Streams are authenticated before grpc gets them. The credentials here tell grpc the
// result, and never block.

// clientCredentials are the credentials of a stream with info.
type clientCredentials struct{ info secure.Info }

var _ credentials.TransportCredentials = clientCredentials{}

// ClientHandshake implements [credentials.TransportCredentials].
func (c clientCredentials) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, calls.NewAuthInfo(c.info), nil
}

// ServerHandshake implements [credentials.TransportCredentials].
func (clientCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a client accepts no connections")
}

// Info implements [credentials.TransportCredentials].
func (c clientCredentials) Info() credentials.ProtocolInfo {
	protocol := c.info.Security
	if protocol == handshake.SecurityMTLS || protocol == handshake.SecurityTLS {
		protocol = "tls" // then grpc's :scheme is https
	}
	return credentials.ProtocolInfo{SecurityProtocol: protocol}
}

// Clone implements [credentials.TransportCredentials].
func (c clientCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements [credentials.TransportCredentials].
func (clientCredentials) OverrideServerName(string) error { return nil }

// serverCredentials are the credentials of the connections of a servedListener.
type serverCredentials struct{ room *room }

var _ credentials.TransportCredentials = serverCredentials{}

// ServerHandshake implements [credentials.TransportCredentials].
func (s serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := raw.(*serverConn)
	if !ok {
		return nil, nil, fmt.Errorf("a %T is not a stream of a session", raw)
	}
	if s.room.conns.Add(1) > maxConns {
		s.room.conns.Add(-1)
		return nil, nil, fmt.Errorf("%d connections are open, which is the limit", maxConns)
	}
	c.stream = track(c.Conn)
	c.server.idle.replace(c)
	info := calls.NewAuthInfo(c.Info)
	info.Conn = c
	return newServedConn(c.stream, s.room), info, nil
}

// ClientHandshake implements [credentials.TransportCredentials].
func (serverCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a server dials no connections")
}

// Info implements [credentials.TransportCredentials].
func (serverCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "plugwire"}
}

// Clone implements [credentials.TransportCredentials].
func (s serverCredentials) Clone() credentials.TransportCredentials { return s }

// OverrideServerName implements [credentials.TransportCredentials].
func (serverCredentials) OverrideServerName(string) error { return nil }
