package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/hclogbridge"
)

// ServeConfig says what a plugin serves.
type ServeConfig struct {
	// HandshakeConfig is the same on both sides.
	HandshakeConfig

	// TLSProvider returns the plugin's side of ClientConfig.TLSConfig.
	TLSProvider func() (*tls.Config, error)

	// Plugins are the plugins in version HandshakeConfig.ProtocolVersion.
	Plugins PluginSet

	// VersionedPlugins are the plugins by version.
	VersionedPlugins map[int]PluginSet

	// GRPCServer makes the server, [DefaultGRPCServer] for example. It adds its own options
	// to those that it is given. It must be set: without it a plugin would speak net/rpc.
	GRPCServer func([]grpc.ServerOption) *grpc.Server

	// Logger gets what the plugin's side logs. The default writes to standard error, where the
	// host reads it.
	Logger hclog.Logger

	// Test makes Serve serve in the process of a test.
	Test *ServeTestConfig
}

// ServeTestConfig is for a plugin in the process of a test. No cookie is needed, nothing is
// printed, and hosts reattach to the plugin.
type ServeTestConfig struct {
	// Context ends the serving.
	Context context.Context //nolint:containedctx // go-plugin has this field

	// ReattachConfigCh gets how hosts reach the plugin.
	ReattachConfigCh chan<- *ReattachConfig

	// CloseCh is closed when Serve returns.
	CloseCh chan<- struct{}

	// SyncStdio lets hosts fetch what the process prints. It is printed as well.
	SyncStdio bool
}

const (
	noCookieText = "Misconfigured ServeConfig given to serve this plugin: no magic cookie\n" +
		"key or value was set. Please notify the plugin author and report\nthis as a bug.\n"
	noHostText = "This binary is a plugin. These are not meant to be executed directly.\n" +
		"Please execute the program that consumes these plugins, which will\nload any plugins automatically\n"
)

// Serve serves the plugins until the host ends the plugin, and then returns. If it cannot
// serve, it says so on standard error and exits with 1.
func Serve(opts *ServeConfig) {
	if opts.Test != nil {
		serveTest(opts)
		return
	}
	var text string
	switch {
	case opts.MagicCookieKey == "" || opts.MagicCookieValue == "":
		text = noCookieText
	case os.Getenv(opts.MagicCookieKey) != opts.MagicCookieValue:
		text = noHostText
	default:
		err := serve(opts)
		if err == nil {
			return
		}
		text = fmt.Sprintf("%s: %v\n", os.Args[0], err)
	}
	fmt.Fprint(os.Stderr, text)
	os.Exit(1)
}

func serve(opts *ServeConfig) error {
	broker := newBroker(opts.logger())
	defer broker.Close() //nolint:errcheck // always nil
	binding, served, err := opts.binding(broker)
	if err != nil {
		return err
	}
	if keeps(keepOutlive) {
		served = append(served, plugin.OutlivesHost())
	}
	if os.Getenv(boundVariable) != "" {
		served = append(served, plugin.AsGoPlugin(), plugin.WithLookupEnv(lookupBound))
	}
	return plugin.Run(context.Background(), binding, append(served, plugin.WithCookie(opts.MagicCookieKey, opts.MagicCookieValue))...)
}

// lookupBound finds the offer of a host of this module.
func lookupBound(name string) (string, bool) {
	if name == offerVariable {
		name = boundVariable
	}
	return os.LookupEnv(name)
}

// logger returns the logger of the plugin's side.
func (o *ServeConfig) logger() hclog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	l := hclog.LevelFromString(os.Getenv(levelVariable))
	if l == hclog.NoLevel {
		l = hclog.Trace // the host does not tell its level, and filters
	}
	return hclog.New(&hclog.LoggerOptions{Level: l, Output: os.Stderr, JSONFormat: true})
}

// binding returns what the configuration serves. The broker is connected when a host comes.
func (o *ServeConfig) binding(broker *GRPCBroker) (protocol.Binding, []plugin.Option, error) {
	var none protocol.Binding
	if o.GRPCServer == nil {
		return none, nil, fmt.Errorf("ServeConfig.GRPCServer is not set: %w", errNetRPC)
	}
	all, err := served(sets(o.VersionedPlugins, o.version(), o.Plugins, false))
	if err != nil {
		return none, nil, err
	}
	var versions []protocol.Binding
	name := offeredProtocol()
	for version, set := range all {
		versions = append(versions, protocol.FromNewServer(name, version, set.server(o.GRPCServer, broker)))
	}
	opts := []plugin.Option{
		plugin.WithTransports(listening()...),
		plugin.WithLogger(slog.New(hclogbridge.NewHandler(broker.life.logger))),
		plugin.OnReady(func(ctx context.Context) error { return broker.connectOnce(plugin.Broker(ctx)) }),
	}
	if o.TLSProvider != nil {
		cfg, err := o.TLSProvider()
		if err != nil {
			return none, nil, fmt.Errorf("TLSProvider: %w", err)
		}
		if cfg != nil {
			opts = append(opts, plugin.WithTLSConfig(cfg))
		}
	}
	return protocol.Join(versions...), opts, nil
}

// served returns the versions that speak gRPC. A plugin can have others beside them, which
// go-plugin serves over net/rpc. They are left out, unless the host knows only those.
func served(all map[int]PluginSet) (map[int]PluginSet, error) {
	if len(all) == 0 {
		return nil, errors.New("no plugins given: set ServeConfig.Plugins or VersionedPlugins")
	}
	hosts := strings.Split(os.Getenv("PLUGIN_PROTOCOL_VERSIONS"), ",")
	speaksGRPC := make(map[int]PluginSet, len(all))
	var refused error
	var common, missed bool // whether the host knows a version that is served, or refused
	for _, version := range slices.Sorted(maps.Keys(all)) {
		known := slices.Contains(hosts, strconv.Itoa(version))
		if err := all[version].check(); err != nil {
			refused = errors.Join(refused, fmt.Errorf("version %d: %w", version, err))
			missed = missed || known
			continue
		}
		speaksGRPC[version] = all[version]
		common = common || known
	}
	if len(speaksGRPC) == 0 || missed && !common {
		return nil, refused
	}
	return speaksGRPC, nil
}

// listening are the transports of a plugin. Under a host on go-plugin it has one: another would
// be plaintext on TCP, open to every user of the machine.
func listening() []transport.Transport {
	if os.Getenv(offerVariable) == "" {
		return transports()[:1]
	}
	return transports()
}

// check returns an error for a plugin that cannot be served.
func (s PluginSet) check() error {
	for name, p := range s {
		if _, ok := p.(GRPCPlugin); !ok {
			return fmt.Errorf("%q is not a GRPC-compatible plugin: %w", name, errNetRPC)
		}
	}
	return nil
}

// streamWindow is how much of a call's stream, in bytes, is buffered for a handler that reads
// slowly. Plugwire's own is an eighth of it, which bounds what a host can make a plugin hold, and
// makes a client stream of large messages wait for each two of them. go-plugin has no bound.
const streamWindow = 1 << 20

// server returns a function that makes a server with the plugins of the set.
func (s PluginSet) server(create func([]grpc.ServerOption) *grpc.Server, broker *GRPCBroker) func([]grpc.ServerOption) (*grpc.Server, error) {
	return func(opts []grpc.ServerOption) (*grpc.Server, error) {
		server := create(append(opts, grpc.StaticStreamWindowSize(streamWindow)))
		if server == nil {
			return nil, errors.New("GRPCServer returned no server")
		}
		for name, p := range s {
			if err := p.(GRPCPlugin).GRPCServer(broker, server); err != nil {
				return nil, fmt.Errorf("error registering %q: %w", name, err)
			}
		}
		return server, nil
	}
}

// offeredProtocol returns the name of the protocol that a Plugwire host asks for: go-plugin
// has no names, so every name is right.
func offeredProtocol() string {
	for field := range strings.SplitSeq(os.Getenv(offerVariable), "|") {
		key, value, _ := strings.Cut(field, "=")
		if name, err := url.PathUnescape(value); key == "protocol" && err == nil && name != "" {
			return name
		}
	}
	return protocolName
}

// DefaultGRPCServer makes a server with the given options only.
func DefaultGRPCServer(opts []grpc.ServerOption) *grpc.Server { return grpc.NewServer(opts...) }

// ServeMuxMap has what a program serves by its first argument.
type ServeMuxMap map[string]*ServeConfig

// ServeMux serves what the program's first argument names.
func ServeMux(m ServeMuxMap) {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "Invoked improperly. This is an internal command that shouldn't\nbe manually invoked.\n")
		os.Exit(1)
	}
	opts, ok := m[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "Unknown plugin: %s\n", os.Args[1])
		os.Exit(1)
	}
	Serve(opts)
	os.Exit(0)
}
