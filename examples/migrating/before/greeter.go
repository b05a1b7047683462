// Package before has what host and plugin share on go-plugin.
package before

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/plugins/hello"
)

// Handshake is the same on both sides.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "GREETER_PLUGIN",
	MagicCookieValue: "hello",
}

// GreeterPlugin is the adaptor for both sides; Impl is the plugin's.
type GreeterPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	Impl hello.GreeterServer
}

// GRPCServer implements [plugin.GRPCPlugin].
func (p *GreeterPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	hello.RegisterGreeterServer(s, p.Impl)
	return nil
}

// GRPCClient implements [plugin.GRPCPlugin].
func (*GreeterPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return hello.NewGreeterClient(conn), nil
}
