package plugin

import (
	"crypto/tls"
	"hash"
	"io"
	"maps"
	"net"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
)

// ClientConfig says how a host starts and calls a plugin. Exactly one of Cmd, Reattach and
// RunnerFunc is set. Do not change it after [NewClient].
type ClientConfig struct {
	// HandshakeConfig is the same on both sides.
	HandshakeConfig

	// Plugins are the plugins in version HandshakeConfig.ProtocolVersion.
	Plugins PluginSet

	// VersionedPlugins are the plugins by version. Host and plugin choose the highest version
	// that both have.
	VersionedPlugins map[int]PluginSet

	// Cmd is the command that starts the plugin. The client copies it. After the start, its
	// field Process is set.
	Cmd *exec.Cmd
	// Reattach is a plugin that runs already.
	Reattach *ReattachConfig

	// RunnerFunc returns what starts the plugin somewhere else. The command has the
	// environment for the plugin, and tmpDir is the directory for its sockets.
	RunnerFunc func(l hclog.Logger, cmd *exec.Cmd, tmpDir string) (pluginRunner, error)

	// SecureConfig has the checksum that the program of Cmd must have.
	SecureConfig *SecureConfig

	// TLSConfig authenticates the two sides. The plugin needs its side of it (TLSProvider).
	TLSConfig *tls.Config

	// Managed lets [CleanupClients] end the plugin.
	Managed bool

	// MinPort and MaxPort are the range in which a plugin on TCP looks for a port. The
	// default is 10000 to 25000.
	MinPort, MaxPort uint

	// StartTimeout bounds the start. The default is a minute.
	StartTimeout time.Duration

	// Stderr gets what the process writes to its standard error. The log has it too.
	Stderr io.Writer

	// SyncStdout and SyncStderr get what the plugin prints on os.Stdout and os.Stderr once it
	// serves.
	SyncStdout io.Writer
	SyncStderr io.Writer

	// AllowedProtocols are the protocols that the host speaks. It must have [ProtocolGRPC]:
	// the default is net/rpc only.
	AllowedProtocols []Protocol

	// Logger gets the plugin's log and that of the client.
	Logger hclog.Logger

	// PluginLogBufferSize has no effect: lines of any length are logged.
	PluginLogBufferSize int

	// AutoMTLS demands mutual TLS with certificates that both sides make for one start. A
	// client cannot reattach to such a plugin.
	AutoMTLS bool

	// GRPCDialOptions are added to the connection for calls.
	GRPCDialOptions []grpc.DialOption

	// GRPCBrokerMultiplex makes the broker's connections streams of one connection.
	GRPCBrokerMultiplex bool

	// SkipHostEnv gives the plugin only the environment of Cmd.
	SkipHostEnv bool

	// UnixSocketConfig says where sockets are, and which group may use them.
	UnixSocketConfig *UnixSocketConfig
}

// UnixSocketConfig says where the sockets of a plugin and its host are, and which group may
// use them.
type UnixSocketConfig struct {
	// Group is a group, a name or a number, whose members may use the sockets.
	Group string
	// TempDir is the directory in which the directory for the sockets is made.
	TempDir string
}

// ReattachConfig is how a client reaches a plugin that runs already.
type ReattachConfig struct {
	// Protocol is ProtocolGRPC.
	Protocol Protocol
	// ProtocolVersion is the version that the plugin serves.
	ProtocolVersion int
	// Addr is where the plugin listens.
	Addr net.Addr
	// Pid is the number of its process.
	Pid int

	// ReattachFunc finds a plugin that may be elsewhere than on this machine.
	ReattachFunc reattachFunc

	// Test is set for a plugin that a test serves ([ServeConfig].Test): Kill only closes the
	// connections to it.
	Test bool
}

// SecureConfig has the checksum of a program.
type SecureConfig struct {
	// Checksum is what Hash returns for the file.
	Checksum []byte
	// Hash is reset before and after its use.
	Hash hash.Hash
}

func (c *ClientConfig) setDefaults() {
	if c.MinPort == 0 && c.MaxPort == 0 {
		c.MinPort, c.MaxPort = 10000, 25000
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = time.Minute
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	if c.SyncStdout == nil {
		c.SyncStdout = io.Discard
	}
	if c.SyncStderr == nil {
		c.SyncStderr = io.Discard
	}
	if c.AllowedProtocols == nil {
		c.AllowedProtocols = []Protocol{ProtocolNetRPC}
	}
	if c.Logger == nil {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: hclog.DefaultOutput, Level: hclog.Trace, Name: "plugin"})
	}
	if c.PluginLogBufferSize == 0 {
		c.PluginLogBufferSize = 64 << 10
	}
}

// version returns the version of Plugins.
func (h *HandshakeConfig) version() int {
	return int(h.ProtocolVersion)
}

// sets returns the plugins by version. Plugins count under the version of the handshake,
// unless that has a set of its own and keeps it.
func sets(versioned map[int]PluginSet, version int, plugins PluginSet, keeps bool) map[int]PluginSet {
	all := make(map[int]PluginSet, len(versioned)+1)
	maps.Copy(all, versioned)
	if _, taken := all[version]; plugins != nil && (!taken || !keeps) {
		all[version] = plugins
	}
	return all
}
