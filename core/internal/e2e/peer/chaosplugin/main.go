//go:build linux

// Package chaosplugin is the command chaos-plugin. It is the plugin of the chaos soak:
//
//	chaos-plugin               on this framework
//	chaos-plugin go-plugin     on hashicorp/go-plugin
package chaosplugin

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/chaos"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/plugin"
)

// Main is the command.
func Main() {
	p, err := chaos.NewPlugin()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) == 1 {
		plugin.Main(p.Serve(), plugin.WithTransports(ways.All()...))
		return
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: chaos.GoPluginHandshake,
		Plugins:         goplugin.PluginSet{chaos.GoPluginName: goPlugin{p: p}},
		GRPCServer:      goplugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
}

// goPlugin serves the echo service under go-plugin.
type goPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	p *chaos.Plugin
}

var _ goplugin.GRPCPlugin = goPlugin{}

func (g goPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	echopb.RegisterEchoServer(s, g.p)
	return nil
}

func (goPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}
