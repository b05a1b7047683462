package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/hclogbridge"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// maxMessageSize is the limit of go-plugin's hosts, in bytes.
const maxMessageSize = math.MaxInt32

// protocolName names a protocol where go-plugin has no names.
const protocolName = "plugin"

// launch is one start of a plugin, or one attaching to it.
type launch struct {
	client *Client
	sets   map[int]PluginSet // by version
	plugin *host.Plugin
	trace  startTrace
	addr   net.Addr
}

// startTrace is what the events of a start tell.
type startTrace struct {
	mu      sync.Mutex // guards the fields below
	id      string
	network string
	address string
	answer  *host.AnswerEvent // nil before the answer
}

func (t *startTrace) hooks() *host.Trace {
	locked := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	return &host.Trace{
		ProcessStarted: func(e host.ProcessStartedEvent) { locked(func() { t.id = e.ID }) },
		Answer:         func(e host.AnswerEvent) { locked(func() { t.answer = &e }) },
		Dial:           func(e host.DialEvent) { locked(func() { t.network, t.address = e.Transport.Name, e.Address }) },
	}
}

// start starts the plugin, or attaches to it. The caller holds starting.
func (c *Client) start(ctx context.Context) (*launch, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &launch{client: c}
	var err error
	if c.config.Reattach != nil {
		err = s.attach(ctx)
	} else {
		err = s.command(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, errors.Join(err, s.plugin.Close())
	}
	return s, nil
}

// check returns what is wrong with the configuration.
func (c *Client) check() error {
	ways := 0
	for _, set := range []bool{c.config.Cmd != nil, c.config.Reattach != nil, c.config.RunnerFunc != nil} {
		if set {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errNotOne
	case c.config.SecureConfig != nil && c.config.Reattach != nil:
		return ErrSecureConfigAndReattach
	case c.config.GRPCBrokerMultiplex && c.config.Reattach != nil:
		return errMultiplexReattach
	case !slices.Contains(c.config.AllowedProtocols, ProtocolGRPC):
		return fmt.Errorf("unsupported plugin protocol %q. Supported: %v\nadd plugin.ProtocolGRPC to ClientConfig.AllowedProtocols: %w", ProtocolGRPC, c.config.AllowedProtocols, errNetRPC)
	}
	return nil
}

// ready makes the client of the started plugin.
func (s *launch) ready() error {
	c := s.client
	conn, err := s.plugin.ClientConn()
	if err != nil {
		return err
	}
	if s.addr, err = resolve(s.trace.network, s.trace.address); err != nil {
		return err
	}
	version := s.plugin.Protocol().Version()
	broker := newBroker(c.config.Logger)
	if err := broker.connect(s.plugin.Broker()); err != nil {
		return err
	}
	done, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-s.plugin.Done()
		c.exited.Store(true)
		_ = broker.Close() // always nil
		cancel()
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exited.Store(false)
	c.plugin, c.addr, c.id, c.version = s.plugin, s.addr, s.trace.id, version
	c.protocol = &GRPCClient{Conn: conn, Plugins: s.sets[version], plugin: s.plugin, broker: broker, doneCtx: done, ended: ended}
	c.reattach = &ReattachConfig{Protocol: ProtocolGRPC, ProtocolVersion: version, Addr: s.addr, Pid: s.plugin.Info().PID}
	return nil
}

func resolve(network, address string) (net.Addr, error) {
	switch network {
	case "unix":
		return &net.UnixAddr{Net: network, Name: address}, nil
	case "tcp":
		return net.ResolveTCPAddr(network, address)
	default:
		return nil, fmt.Errorf("unknown address type: %s", address)
	}
}

// command starts the plugin's process.
func (s *launch) command(ctx context.Context) error {
	c := s.client.config
	s.sets = sets(c.VersionedPlugins, c.version(), c.Plugins, true)
	runner, cmd := s.commanded()
	if runner == nil {
		return errors.New("exec: the command has Stdout, Stderr or was started before: the client needs one of its own")
	}
	opts, err := s.options(filepath.Base(cmd.Path))
	if err != nil {
		return err
	}
	opts = append(opts, s.security(runner)...)
	if c.SecureConfig != nil {
		verified, err := c.SecureConfig.verified(cmd.Path)
		if err != nil {
			return err
		}
		if !keeps(keepInPlace) && runner.runsPath() {
			opts = append(opts, verified)
		}
	}
	bound, release, err := runner.bounded(ctx)
	if err != nil {
		return err
	}
	defer release()
	if s.plugin, err = host.Launch(bound, cmd, opts...); err != nil {
		return s.explain(err)
	}
	runner.bind(s.plugin)
	return nil
}

// options are those of every start.
func (s *launch) options(name string) ([]host.Option, error) {
	c := s.client.config
	if len(s.sets) == 0 {
		return nil, errors.New("no plugins given: set ClientConfig.Plugins or VersionedPlugins")
	}
	var versions []*protocol.Protocol
	for version := range s.sets {
		versions = append(versions, protocol.New(protocolName, version))
	}
	opts := []host.Option{
		host.WithProtocols(versions...),
		host.WithTransports(transports()...),
		host.WithLogger(slog.New(hclogbridge.NewHandler(c.Logger.Named(name)))),
		host.WithStartTimeout(c.StartTimeout),
		host.WithMaxMessageSize(maxMessageSize),
		host.WithStderr(c.Stderr),
		host.WithPrinted(c.SyncStdout, c.SyncStderr),
		host.WithTrace(s.trace.hooks()),
		host.WithDialOptions(c.GRPCDialOptions...),
		host.WithoutAttach(),
	}
	if c.MagicCookieKey != "" {
		opts = append(opts, host.WithCookie(c.MagicCookieKey, c.MagicCookieValue))
	}
	if c.MinPort > 0 { // else the plugin asks the system for a port
		opts = append(opts, host.WithPortRange(int(c.MinPort), int(c.MaxPort)))
	}
	if c.GRPCBrokerMultiplex {
		opts = append(opts, host.WithMultiplex())
	}
	if sockets := c.UnixSocketConfig; sockets != nil && runtime.GOOS != "windows" {
		if sockets.Group != "" {
			opts = append(opts, host.WithSocketGroup(sockets.Group))
		}
		if sockets.TempDir != "" {
			opts = append(opts, host.WithTempDir(sockets.TempDir))
		}
	}
	return opts, nil
}

// transports are those of go-plugin.
func transports() []transport.Transport {
	if runtime.GOOS == "windows" {
		return []transport.Transport{tcp.New()}
	}
	return []transport.Transport{unix.New(), tcp.New()}
}

// security are the options about how the two sides know each other. As in go-plugin, a
// plugin without TLS is accepted unless AutoMTLS asks for it.
func (s *launch) security(runner *commandRunner) []host.Option {
	c := s.client.config
	opts := []host.Option{host.WithRunner(runner)}
	switch {
	case c.AutoMTLS:
		return append(opts, host.WithMutualTLS())
	case c.TLSConfig != nil:
		return append(opts, host.WithTLSConfig(c.TLSConfig))
	default:
		return append(opts, host.WithPlaintext(), host.WithoutCertificate())
	}
}

// explain adds to the error of a start what go-plugin would say.
func (s *launch) explain(err error) error {
	start, ok := errors.AsType[*host.StartError](err)
	if !ok {
		return err
	}
	e := &startError{err: err}
	mismatch, _ := errors.AsType[*handshake.Error](err)
	answer := s.trace.answer
	switch {
	case errors.Is(err, host.ErrChecksum):
		e.text, e.is = ErrChecksumsDoNotMatch.Error(), ErrChecksumsDoNotMatch
	case start.Timeout():
		e.text = "timeout while waiting for plugin to start"
	case mismatch == nil && start.Exit != nil:
		e.text = "plugin exited before we could connect"
	case mismatch == nil && start.Phase == host.PhaseHandshake:
		e.text = "Unrecognized remote plugin message: " + strings.TrimSpace(start.Stdout) + "\nFailed to read any lines from plugin's stdout"
	case mismatch == nil:
		return err
	case mismatch.Code == handshake.CodeAnswer:
		e.text = "Unrecognized remote plugin message: " + mismatch.Reason
	case mismatch.Code == handshake.CodeCore:
		e.text = "incompatible core API version with plugin"
	case mismatch.Code == handshake.CodeVersion && answer != nil:
		e.text = fmt.Sprintf("incompatible API version with plugin. Plugin version: %d, Client versions: %v", answer.Version, versionsOf(s.sets))
	case mismatch.Code == handshake.CodeWire:
		e.text, e.is = fmt.Sprintf("unsupported plugin protocol %q. Supported: %v", ProtocolNetRPC, []Protocol{ProtocolGRPC}), errNetRPC
	case mismatch.Code == handshake.CodeSession && s.client.config.GRPCBrokerMultiplex:
		e.text, e.is = ErrGRPCBrokerMuxNotSupported.Error(), ErrGRPCBrokerMuxNotSupported
	default:
		return err
	}
	return e
}

func versionsOf(sets map[int]PluginSet) []int {
	var versions []int
	for version := range sets {
		versions = append(versions, version)
	}
	slices.Sort(versions)
	return versions
}

// environ returns the environment of the command for the plugin. The variables of the
// handshake are left out: the host sets them.
func (c *ClientConfig) environ(cmd *exec.Cmd) []string {
	env := []string{} // not nil, which would mean the environment of this process
	if !c.SkipHostEnv {
		env = os.Environ()
	}
	if keeps(keepHostEnv) {
		env = append(slices.Clone(cmd.Env), env...)
	} else {
		env = append(env, cmd.Env...)
	}
	return slices.DeleteFunc(env, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == c.MagicCookieKey || isHandshake(name)
	})
}

// isHandshake reports whether a variable belongs to the handshake (docs/protocol.md).
func isHandshake(name string) bool {
	switch name {
	case "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_CLIENT_CERT", "PLUGIN_MULTIPLEX_GRPC",
		EnvUnixSocketDir, EnvUnixSocketGroup, "PLUGIN_TRANSPORTS", "PLUGIN_MAGIC_COOKIE":
		return true
	}
	return strings.HasPrefix(name, "PLUGWIRE_")
}

// level returns the lowest level that a logger shows.
func level(l hclog.Logger) hclog.Level {
	switch {
	case l.IsTrace():
		return hclog.Trace
	case l.IsDebug():
		return hclog.Debug
	case l.IsInfo():
		return hclog.Info
	case l.IsWarn():
		return hclog.Warn
	default:
		return hclog.Error
	}
}
