// Package goplugin is a [peer.Framework] on hashicorp/go-plugin. It compiles
// with every release from v1.0.1 on.
package goplugin

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/service"
)

// The cookie is Plugwire's default.
const (
	cookieName  = "PLUGIN_MAGIC_COOKIE"
	cookieValue = "plugwire"
)

// maxMessageSize is the limit of plugins on go-plugin. grpc's default limit for
// a server is 4 MiB.
const maxMessageSize = 256 << 20

// Release has what not every release of go-plugin has.
type Release struct {
	// Multiplex turns multiplexing on, which is new in v1.6.0.
	Multiplex func(*plugin.ClientConfig)
	// NoStdio says that the release has no service yet for a plugin's output.
	NoStdio bool
}

var _ peer.Framework = Release{}

// handshake is the same on both sides. The plugin sets have the versions.
func handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{MagicCookieKey: cookieName, MagicCookieValue: cookieValue}
}

// pluginName is the name of the one plugin in each set.
const pluginName = "interop"

func pluginSets(versions []int) map[int]plugin.PluginSet {
	sets := make(map[int]plugin.PluginSet, len(versions))
	for _, version := range versions {
		sets[version] = plugin.PluginSet{pluginName: interop{version: version}}
	}
	return sets
}

// Serve implements [peer.Framework]. A plugin on go-plugin does its last work
// after Serve has returned: the answer to Shutdown does not wait for that work.
func (Release) Serve(versions []int, linger time.Duration) {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: os.Stderr, JSONFormat: true})
	sets := pluginSets(versions)
	for _, set := range sets {
		set[pluginName] = interop{version: set[pluginName].(interop).version, logger: logger}
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: sets,
		Logger:           logger,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessageSize), grpc.MaxSendMsgSize(maxMessageSize))...)
		},
	})
	time.Sleep(linger)
}

// interop is one version of the plugin, on either side.
type interop struct {
	plugin.NetRPCUnsupportedPlugin
	version int
	logger  hclog.Logger // nil on the host's side
}

var _ plugin.GRPCPlugin = interop{}

// GRPCServer implements [plugin.GRPCPlugin].
func (i interop) GRPCServer(broker *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&service.Desc, &handler{Base: service.Base{At: i.version}, logger: i.logger, broker: broker})
	return nil
}

// connection is a host's connection to a plugin, with its broker.
type connection struct {
	*grpc.ClientConn
	broker *plugin.GRPCBroker
}

// GRPCClient implements [plugin.GRPCPlugin].
func (i interop) GRPCClient(_ context.Context, broker *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return connection{conn, broker}, nil
}

// handler is the service in a plugin.
type handler struct {
	service.Base
	service.Stops
	logger hclog.Logger
	broker *plugin.GRPCBroker
}

var _ service.Handler = (*handler)(nil)

// Log implements [service.Handler].
func (h *handler) Log(_ context.Context, text string) {
	h.logger.Warn(service.LogMessage, service.LogField, text)
}

// CallHost implements [service.Handler].
func (h *handler) CallHost(ctx context.Context, id uint32) (string, error) {
	conn, err := h.broker.Dial(id)
	if err != nil {
		return "", err
	}
	answer, err := service.Ask(ctx, conn)
	return answer, errors.Join(err, conn.Close())
}

// ServeBack implements [service.Handler].
func (h *handler) ServeBack(ctx context.Context) (uint32, error) {
	id := h.broker.NextId()
	stop, err := serve(ctx, h.broker, id, service.FromPlugin)
	if err != nil {
		return 0, err
	}
	h.Add(id, stop)
	return id, nil
}
