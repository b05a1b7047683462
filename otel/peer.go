package otelplugwire

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// peerNames is a handler of calls that a side makes. It shows the other side's name as the
// address. The address itself is new with each start: a metric with it would get another
// series for each restart, without an end.
type peerNames struct {
	stats.Handler
	peer func(context.Context) string
}

// HandleRPC implements [stats.Handler].
func (p peerNames) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if header, ok := s.(*stats.OutHeader); ok {
		named := *header
		named.RemoteAddr = peerName(p.peer(ctx))
		s = &named
	}
	p.Handler.HandleRPC(ctx, s)
}

// peerName is the name of the other side as a net.Addr.
type peerName string

func (peerName) Network() string  { return "plugwire" }
func (n peerName) String() string { return string(n) }

// nameKey is the key under which the context of a call has the plugin's name.
type nameKey struct{}

func nameOf(ctx context.Context) string {
	name, _ := ctx.Value(nameKey{}).(string)
	return name
}

// withName puts the plugin's name into the context of a call: its connection's target ends
// with it ([github.com/plugwire/plugwire/core/host.WithName]).
func withName(ctx context.Context, conn *grpc.ClientConn) context.Context {
	_, name, _ := strings.Cut(conn.CanonicalTarget(), ":///")
	return context.WithValue(ctx, nameKey{}, name)
}

func nameUnary(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return next(withName(ctx, conn), method, request, response, conn, opts...)
}

func nameStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return next(withName(ctx, conn), desc, conn, method, opts...)
}
