package plugin

import (
	"context"
	"io"
	"net"
	"net/rpc"

	"google.golang.org/grpc"
)

// CoreProtocolVersion is the version of the handshake, the first field of a plugin's answer.
const CoreProtocolVersion = 1

// GRPCServiceName is the name under which a plugin reports its health.
const GRPCServiceName = "plugin"

const (
	// EnvUnixSocketDir is the environment variable that tells a plugin where to make its
	// sockets.
	EnvUnixSocketDir = "PLUGIN_UNIX_SOCKET_DIR"
	// EnvUnixSocketGroup is the environment variable that tells a plugin which group may use
	// its sockets.
	EnvUnixSocketGroup = "PLUGIN_UNIX_SOCKET_GROUP"
)

// Protocol is how the calls to a plugin travel.
type Protocol string

const (
	// ProtocolInvalid is that of a client which cannot start its plugin.
	ProtocolInvalid Protocol = ""
	// ProtocolNetRPC is net/rpc, which this module refuses.
	ProtocolNetRPC Protocol = "netrpc"
	// ProtocolGRPC is gRPC.
	ProtocolGRPC Protocol = "grpc"
)

// ServerProtocol is the plugin's side of a protocol.
type ServerProtocol interface {
	// Init prepares the server, before it listens. It returns what is wrong with the
	// configuration.
	Init() error
	// Config is text about the server. It may be empty.
	Config() string
	// Serve serves what the listener accepts, until the server ends.
	Serve(net.Listener)
}

// ClientProtocol is the host's side of a protocol.
type ClientProtocol interface {
	// Close ends the plugin and the connection to it.
	io.Closer
	// Dispense returns the host's side of the plugin with that name in the [PluginSet].
	Dispense(string) (any, error)
	// Ping returns nil if the plugin is serving.
	Ping() error
}

// HandshakeConfig is what a host and its plugins agree on beforehand. Both have the same.
type HandshakeConfig struct {
	// ProtocolVersion is the version of Plugins, in the configurations that have that field.
	ProtocolVersion uint
	// MagicCookieKey is an environment variable and MagicCookieValue its value. By them a
	// plugin recognizes its host. This is a hint for people who run a plugin by hand, not
	// security.
	MagicCookieKey   string
	MagicCookieValue string
}

// PluginSet is the plugins of one process, by name.
type PluginSet map[string]Plugin

// Plugin is one plugin of a [PluginSet], on either side. One that speaks gRPC is a
// [GRPCPlugin] too, and embeds [NetRPCUnsupportedPlugin].
type Plugin interface {
	// Server returns the value whose methods are served over net/rpc. This module never
	// calls it.
	Server(*MuxBroker) (any, error)
	// Client returns the host's side over net/rpc. This module never calls it.
	Client(*MuxBroker, *rpc.Client) (any, error)
}

// GRPCPlugin is a [Plugin] that speaks gRPC.
type GRPCPlugin interface {
	// GRPCServer registers the plugin's services on the server. It is called once.
	GRPCServer(*GRPCBroker, *grpc.Server) error
	// GRPCClient returns the host's side, for [ClientProtocol].Dispense. The context ends
	// with the plugin.
	GRPCClient(context.Context, *GRPCBroker, *grpc.ClientConn) (any, error)
}

// NetRPCUnsupportedPlugin is for a plugin to embed that has no net/rpc.
type NetRPCUnsupportedPlugin struct{}

// Server returns an error.
func (p NetRPCUnsupportedPlugin) Server(*MuxBroker) (any, error) { return nil, errNetRPC }

// Client returns an error.
func (p NetRPCUnsupportedPlugin) Client(*MuxBroker, *rpc.Client) (any, error) {
	return nil, errNetRPC
}
