package peers

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/peers/handshake"
)

func goPlugin() []*Peer {
	return []*Peer{
		{Name: GoPlugin, Plugin: "goplugin", Note: "gRPC, its defaults: a unix socket without TLS", start: startGoPlugin(false)},
		{Name: GoPluginMTLS, Plugin: "goplugin", Note: "the same with AutoMTLS", start: startGoPlugin(true)},
	}
}

func startGoPlugin(mtls bool) func(context.Context, place) (*Session, error) {
	return func(_ context.Context, at place) (*Session, error) {
		cmd := at.command()
		client := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig:  handshake.Config,
			Plugins:          plugin.PluginSet{handshake.Name: &goPluginEcho{}},
			Cmd:              cmd,
			AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
			AutoMTLS:         mtls,
			Logger:           hclog.NewNullLogger(),
		})
		host, err := dispense(client)
		if err != nil {
			client.Kill()
			return nil, err
		}
		s := grpcSession(host.echo, cmd.Process.Pid, func() error { client.Kill(); return nil })
		s.Callback = host.callback
		return s, nil
	}
}

func dispense(client *plugin.Client) (*goPluginHost, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(handshake.Name)
	if err != nil {
		return nil, err
	}
	host, ok := raw.(*goPluginHost)
	if !ok {
		return nil, fmt.Errorf("go-plugin dispensed a %T", raw)
	}
	return host, nil
}

// goPluginEcho is the service as a plugin of go-plugin, on the host's side.
type goPluginEcho struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements [plugin.GRPCPlugin].
func (*goPluginEcho) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host has no plugin to serve")
}

// GRPCClient implements [plugin.GRPCPlugin]. It serves the host's service through the
// broker, for callbacks.
func (*goPluginEcho) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	id := broker.NextId()
	go broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server { // ends with the plugin
		server := grpc.NewServer(opts...)
		echopb.RegisterEchoServer(server, &grpcecho.Server{})
		return server
	})
	return &goPluginHost{echopb.NewEchoClient(cc), id}, nil
}

// goPluginHost is the host's end.
type goPluginHost struct {
	echo   echopb.EchoClient
	broker uint32 // number of the host's service
}

func (h *goPluginHost) callback(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	return h.echo.Callback(ctx, &messages.Payload{Data: p.GetData(), Broker: h.broker})
}
