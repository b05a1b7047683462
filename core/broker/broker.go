// Package broker is go-plugin's broker, for programs that come from there and for those
// whose peers are built on it. A broker makes connections beside the one for calls. Each
// is found by a number, which the two sides exchange in messages of their own.
//
// A program without such peers does not need it. host.WithServices and plugin.Host give
// calls in both directions without numbers and without a second connection.
//
// A host gets its [Broker] from host.Plugin.Broker, and a plugin's handler from
// plugin.Broker. A handler that is told the number of what its host serves can write:
//
//	conn, err := plugin.Broker(ctx).Dial(ctx, request.GetServer())
//	if err != nil {
//		return nil, err
//	}
//	defer conn.Close()
//	answer, err := example.NewAdderClient(conn).Add(ctx, &example.AddRequest{A: 1, B: 2})
//
// A plugin that is debugged may have several hosts. Its broker is then that of the host
// which attached last.
//
// The code of both sides is the same whether each connection has an address of its own or
// all are streams of one connection (host.WithMultiplex).
package broker

import (
	"context"
	"net"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/protocol"
)

// Broker makes connections to the other side. It ends with the plugin. Its methods are
// safe for concurrent use. A test of a handler may pass an implementation of its own.
type Broker interface {
	// NextID returns a number that this side has not used yet, from 1. The numbers of
	// the two sides do not clash, since a message tells which side serves.
	NextID() uint32

	// Serve serves under a number until ctx ends, and then returns nil. Calls in flight
	// get another second. Each binding has one version of a protocol of its own, as the
	// generated Serve functions make them. An error says why serving ended before ctx
	// did. For example, if the other side has no broker, Serve says so within 10 s.
	//
	// The other side may dial as often as it likes. It may also dial before Serve is
	// called, as long as its Dial still waits.
	Serve(ctx context.Context, id uint32, bindings ...protocol.Binding) error

	// Dial connects to what the other side serves under a number, or is about to serve.
	// It may be called again for the same number. The context bounds the dialing only.
	// Without a deadline Dial takes at most 10 s, which is also how long it waits if the
	// other side does not serve the number. The caller closes the connection.
	Dial(ctx context.Context, id uint32) (Conn, error)
}

// Connector is a [Broker] for code that brings its own gRPC client or server, as programs that
// come from go-plugin do. The brokers of host.Plugin.Broker and plugin.Broker are Connectors.
// Each connection is authenticated like those of Serve and Dial, which are better:
// their calls have interceptors, limits, and errors that say how the other side ended.
type Connector interface {
	Broker
	// Listen listens under a number, as Serve does, until the listener is closed or the broker
	// ends. Accept then returns an error that is a net.ErrClosed.
	Listen(ctx context.Context, id uint32) (net.Listener, error)
	// Connect makes one connection to what the other side serves under a number. It waits like
	// Dial.
	Connect(ctx context.Context, id uint32) (net.Conn, error)
}

// Conn is a connection that a [Broker] made. Generated clients are made from it. When the
// other side ends the connection, calls fail with codes.Unavailable. Its methods are safe
// for concurrent use.
type Conn interface {
	grpc.ClientConnInterface
	// Close ends the connection and the calls on it.
	Close() error
}
