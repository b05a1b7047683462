// Package peers has the frameworks that are compared: how the host starts the plugin of
// each, and calls it. The plugins are the commands below bench/internal/plugin.
package peers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
)

// These are the names of peers that reports know. Most ratios are those to go-plugin.
const (
	Raw          = "raw"
	GRPC         = "grpc-go"
	GoPlugin     = "go-plugin"
	GoPluginMTLS = "go-plugin-mtls"
	Compat       = "compat"
	CompatMTLS   = "compat-mtls"
	TTRPC        = "ttrpc"
	DRPC         = "drpc"
	ARPC         = "arpc"
)

// A Peer is a framework in one configuration.
type Peer struct {
	Name   string // as reports and -only name it
	Plugin string // command of the plugin
	Note   string // one line about the configuration
	Lossy  bool   // whether the measurement under loss includes it

	start func(context.Context, place) (*Session, error)
}

// A Session is the host's end of a running plugin. A function is nil if the framework does
// not have it. All may be called concurrently.
type Session struct {
	PID int

	Unary    func(context.Context, *messages.Payload) (*messages.Payload, error)
	Mixed    func(context.Context, *messages.Payload) (*messages.Payload, error)
	Metadata func(context.Context, *messages.Payload) (*messages.Payload, error) // with two pairs each way
	Callback func(context.Context, *messages.Payload) (*messages.Payload, error)

	// ServerStream and ClientStream move count messages of size bytes, and return how
	// many have arrived.
	ServerStream func(ctx context.Context, count, size int) (int, error)
	ClientStream func(ctx context.Context, count, size int) (int, error)

	// Bidi opens a stream. Ping sends a message and waits for its echo.
	Bidi func(context.Context) (ping func(*messages.Payload) error, done func() error, err error)

	Close func() error
}

// Where says where plugins are started.
type Where struct {
	Programs string // directory of the plugins' programs
	Scratch  string // directory of sockets, one for each start
	Agent    string // socket of the agent's host; empty for a plugin without an agent
}

// place is where one plugin is started.
type place struct {
	Where

	program string
}

// command returns the command that starts the plugin. Frameworks that start it
// themselves take it over.
func (p place) command() *exec.Cmd {
	cmd := exec.Command(p.program) //nolint:gosec // the program is one of ours; the session ends it
	cmd.Env = append(os.Environ(), launch.EnvDir+"="+p.Scratch, agent.EnvAddress+"="+p.Agent)
	return cmd
}

// Program returns the path of the peer's plugin in a directory of programs.
func (p *Peer) Program(dir string) string {
	name := p.Plugin
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// Start starts the plugin and returns when it can be called.
func (p *Peer) Start(ctx context.Context, w Where) (*Session, error) {
	return p.start(ctx, place{w, p.Program(w.Programs)})
}

// All returns the peers in the order of reports. Raw sockets come first.
func All() []*Peer {
	return slices.Concat(raw(), grpcGo(), goPlugin(), compat(), ttrpcPeers(), drpcPeers(), arpcPeers(), plugwire())
}

// Find returns a peer by its name, or nil.
func Find(name string) *Peer {
	all := All()
	if i := slices.IndexFunc(all, func(p *Peer) bool { return p.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}
