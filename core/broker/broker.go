// Package broker is go-plugin's broker, for programs that come from there, or that
// talk to peers which are built on it: connections beside the one for calls, each
// found by a number that the two sides pass on in messages of their own.
//
// A program without such peers does not need it: host.WithServices and plugin.Host
// give calls in both directions without numbers, without a second connection, and
// without an order to keep.
//
// A host gets its [Broker] from host.Plugin.Broker, a plugin's handler from
// plugin.Broker. In a handler that is told the number of what its host serves:
//
//	conn, err := plugin.Broker(ctx).Dial(ctx, request.GetServer())
//	if err != nil {
//		return nil, err
//	}
//	defer conn.Close()
//	answer, err := example.NewAdderClient(conn).Add(ctx, &example.AddRequest{A: 1, B: 2})
//
// With several hosts on one plugin, which only a plugin that is debugged can have,
// the broker is that of the host which came last.
//
// Whether each connection has an address of its own, or all are streams of one
// (host.WithMultiplex), both sides' code is the same.
package broker

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/control"
	brokered "github.com/plugwire/plugwire/core/internal/goplugin/broker"
	"github.com/plugwire/plugwire/core/protocol"
)

// Broker makes connections to the other side. Its methods are safe for concurrent
// use. It ends with the plugin.
type Broker struct{ core *brokered.Broker }

// New is for packages host and plugin.
func New(core *brokered.Broker) *Broker { return &Broker{core} }

// NextID returns a number that this side has not used yet, from 1. The two sides'
// numbers do not clash: a message tells whose is meant.
func (b *Broker) NextID() uint32 { return b.core.NextID() }

// Serve serves under a number until ctx ends, and returns nil then; calls in flight
// have another second. Each binding has one version of a protocol of its own, as
// the generated Serve functions make them. An error says why it ended before that:
// that the other side has no broker, for example, which is known after 10 s at the
// latest.
//
// The other side may dial as often as it likes, and at any time: also before Serve
// is called, for as long as its Dial waits.
func (b *Broker) Serve(ctx context.Context, id uint32, bindings ...protocol.Binding) error {
	register, err := control.Unnegotiated(bindings)
	if err != nil {
		return fmt.Errorf("broker: serve id %d: %w", id, err)
	}
	return b.core.Serve(ctx, id, register)
}

// Dial connects to what the other side serves, or is about to serve, also again,
// under a number. The context bounds that; without a deadline it takes 10 s at most,
// and as long if nobody serves. The caller closes the connection.
func (b *Broker) Dial(ctx context.Context, id uint32) (*Conn, error) {
	core, err := b.core.Dial(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Conn{core}, nil
}

// Conn is a brokered connection. It is a [grpc.ClientConnInterface]: generated
// clients are made from it. Its methods are safe for concurrent use. When the other
// side ends it, calls fail with codes.Unavailable.
type Conn struct{ core *brokered.Conn }

var _ grpc.ClientConnInterface = (*Conn)(nil)

// Invoke makes a unary call. It is for generated code.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.core.Invoke(ctx, method, args, reply, opts...)
}

// NewStream begins a streaming call. It is for generated code.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.core.NewStream(ctx, desc, method, opts...)
}

// Close ends the connection and the calls on it.
func (c *Conn) Close() error { return c.core.Close() }
