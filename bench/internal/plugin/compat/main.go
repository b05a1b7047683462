// Command compat is the plugin of the peers on compat/goplugin: that of go-plugin with another
// import.
package main

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/peers/handshake"
	"github.com/plugwire/plugwire/compat/goplugin"
)

func main() {
	agent.Serve()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake.Config,
		Plugins:         plugin.PluginSet{handshake.Name: &echo{}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
}

// echo is the service as a plugin of go-plugin.
type echo struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements [plugin.GRPCPlugin].
func (*echo) GRPCServer(broker *plugin.GRPCBroker, s *grpc.Server) error {
	echopb.RegisterEchoServer(s, &grpcecho.Server{Back: (&back{broker: broker}).client})
	return nil
}

// GRPCClient implements [plugin.GRPCPlugin].
func (*echo) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	return echopb.NewEchoClient(cc), nil
}

// back keeps the connection to the host's service, as a plugin does that calls back
// more than once.
type back struct {
	broker *plugin.GRPCBroker

	mu   sync.Mutex
	host echopb.EchoClient // nil until the first callback; guarded by mu
}

func (b *back) client(_ context.Context, p *messages.Payload) (echopb.EchoClient, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.host == nil {
		cc, err := b.broker.Dial(p.GetBroker())
		if err != nil {
			return nil, err
		}
		b.host = echopb.NewEchoClient(cc)
	}
	return b.host, nil
}
