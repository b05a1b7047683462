package session

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/plugwire/plugwire/core/transport"
)

// Dial opens a direct stream to a plugin: a connection of its own. With a
// foreign plugin there is no preamble, and only one purpose.
func Dial(ctx context.Context, t transport.Transport, cfg transport.DialConfig, p Preamble, foreign bool) (net.Conn, error) {
	conn, err := t.Dial(ctx, cfg)
	if err != nil || foreign {
		return conn, err
	}
	// A blocked write ends with the context.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	_, err = p.WriteTo(conn)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("write preamble: %w", err)
	}
	return conn, nil
}

// Admit returns credentials for a plugin's server: they read the preamble that
// a Plugwire host sends, and then authenticate with inner. They run where grpc
// shakes hands, in a goroutine of the connection with a deadline on it, so that
// a silent connection never keeps another waiting.
func Admit(inner credentials.TransportCredentials) credentials.TransportCredentials {
	return admission{inner}
}

type admission struct {
	credentials.TransportCredentials
}

func (a admission) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p, err := ReadPreamble(conn)
	if err != nil {
		return nil, nil, err
	}
	if p != (Preamble{Purpose: Calls}) {
		return nil, nil, fmt.Errorf("preamble: purpose %d with name %q is not known here", p.Purpose, p.Name)
	}
	return a.TransportCredentials.ServerHandshake(conn)
}

func (a admission) Clone() credentials.TransportCredentials { return a }
