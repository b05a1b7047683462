package peers

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/peers/handshake"
	"github.com/plugwire/plugwire/compat/goplugin"
)

// compat is go-plugin's code with another import.
func compat() []*Peer {
	return []*Peer{
		{Name: Compat, Plugin: "compat", Note: "go-plugin's API on Plugwire, as go-plugin: a unix socket without TLS", start: startCompat(false)},
		{Name: CompatMTLS, Plugin: "compat", Note: "the same with AutoMTLS", start: startCompat(true)},
	}
}

func startCompat(mtls bool) func(context.Context, place) (*Session, error) {
	return func(_ context.Context, at place) (*Session, error) {
		cmd := at.command()
		client := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig:  handshake.Config,
			Plugins:          plugin.PluginSet{handshake.Name: &compatEcho{}},
			Cmd:              cmd,
			AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
			AutoMTLS:         mtls,
			Logger:           hclog.NewNullLogger(),
		})
		host, err := dispenseCompat(client)
		if err != nil {
			client.Kill()
			return nil, err
		}
		s := grpcSession(host.echo, client.ReattachConfig().Pid, func() error { client.Kill(); return nil })
		s.Callback = host.callback
		return s, nil
	}
}

func dispenseCompat(client *plugin.Client) (*compatHost, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(handshake.Name)
	if err != nil {
		return nil, err
	}
	host, ok := raw.(*compatHost)
	if !ok {
		return nil, fmt.Errorf("compat/goplugin dispensed a %T", raw)
	}
	return host, nil
}

// compatEcho is the service as a plugin of compat/goplugin, on the host's side.
type compatEcho struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements [plugin.GRPCPlugin].
func (*compatEcho) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host has no plugin to serve")
}

// GRPCClient implements [plugin.GRPCPlugin]. It serves the host's service through the
// broker, for callbacks.
func (*compatEcho) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, cc *grpc.ClientConn) (any, error) {
	id := broker.NextId()
	go broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server { // ends with the plugin
		server := grpc.NewServer(opts...)
		echopb.RegisterEchoServer(server, &grpcecho.Server{})
		return server
	})
	return &compatHost{echopb.NewEchoClient(cc), id}, nil
}

// compatHost is the host's end.
type compatHost struct {
	echo   echopb.EchoClient
	broker uint32 // number of the host's service
}

func (h *compatHost) callback(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	return h.echo.Callback(ctx, &messages.Payload{Data: p.GetData(), Broker: h.broker})
}
