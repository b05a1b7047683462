package goplugin

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/service"
)

// Host implements [peer.Framework].
func (r Release) Host(cfg peer.Config) peer.Host { return &host{release: r, cfg: cfg} }

type host struct {
	release Release
	cfg     peer.Config
}

// startTimeout is less than the patience of a check.
const startTimeout = 15 * time.Second

// Start implements [peer.Host].
func (h *host) Start(_ context.Context, args ...string) (peer.Plugin, error) {
	p := &runningPlugin{}
	cfg := p.config()
	cfg.Cmd = exec.Command(h.cfg.Command[0], slices.Concat(h.cfg.Command[1:], args)...) //nolint:gosec // what to run is what this program is asked
	cfg.VersionedPlugins = pluginSets(h.cfg.Versions)
	cfg.AutoMTLS = h.cfg.MutualTLS
	if h.cfg.Multiplex {
		if h.release.Multiplex == nil {
			return nil, fmt.Errorf("this release of go-plugin has no multiplexing: %w", peer.ErrUnsupported)
		}
		h.release.Multiplex(cfg)
	}
	return p, p.connect(cfg)
}

// Attach implements [peer.Host].
func (h *host) Attach(_ context.Context, first peer.Plugin) (peer.Plugin, error) {
	if h.cfg.MutualTLS || h.cfg.Multiplex {
		// Only the first client has the key of AutoMTLS, and multiplexing uses
		// the connection of the first client.
		return nil, fmt.Errorf("go-plugin attaches neither with AutoMTLS nor with multiplexing: %w", peer.ErrUnsupported)
	}
	p := &runningPlugin{}
	cfg := p.config()
	cfg.Reattach = first.(*runningPlugin).client.ReattachConfig()
	// Versions are not negotiated again, and VersionedPlugins are ignored.
	cfg.Plugins = pluginSets(h.cfg.Versions)[first.Version()]
	return p, p.connect(cfg)
}

// runningPlugin is a [peer.Plugin].
type runningPlugin struct {
	connection
	client         *plugin.Client
	protocol       plugin.ClientProtocol
	pid            int
	log            peer.Buffer
	stdout, stderr peer.Buffer
}

func (p *runningPlugin) config() *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     startTimeout,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &p.log, JSONFormat: true}),
		SyncStdout:       &p.stdout,
		SyncStderr:       &p.stderr,
	}
}

func (p *runningPlugin) connect(cfg *plugin.ClientConfig) (err error) {
	p.client = plugin.NewClient(cfg)
	defer func() {
		if err != nil {
			p.client.Kill()
		}
	}()
	if p.protocol, err = p.client.Client(); err != nil {
		return err
	}
	service, err := p.protocol.Dispense(pluginName)
	if err != nil {
		return err
	}
	p.connection = service.(connection)
	p.pid = p.client.ReattachConfig().Pid
	return nil
}

// Version implements [peer.Plugin].
func (p *runningPlugin) Version() int { return p.client.NegotiatedVersion() }

// PID implements [peer.Plugin].
func (p *runningPlugin) PID() int { return p.pid }

// Ping implements [peer.Plugin].
func (p *runningPlugin) Ping(context.Context) error { return p.protocol.Ping() }

// NextID implements [peer.Broker].
func (p *runningPlugin) NextID() uint32 { return p.broker.NextId() }

// Serve implements [peer.Broker].
func (p *runningPlugin) Serve(ctx context.Context, id uint32, e service.Echoer) (stop func(), err error) {
	return serve(ctx, p.broker, id, e)
}

// Dial implements [peer.Broker].
func (p *runningPlugin) Dial(_ context.Context, id uint32) (service.Conn, func() error, error) {
	conn, err := p.broker.Dial(id)
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}

// Stdout implements [peer.Plugin].
func (p *runningPlugin) Stdout() string { return p.stdout.String() }

// Stderr implements [peer.Plugin].
func (p *runningPlugin) Stderr() string { return p.stderr.String() }

// Records implements [peer.Plugin].
func (p *runningPlugin) Records() []peer.Record { return p.log.Records("@level", "@message") }

// killed is go-plugin's log message when a plugin did not end within 2 s after
// the answer to Shutdown.
const killed = "plugin failed to exit gracefully"

// Close implements [peer.Plugin]. Kill waits for the answer to Shutdown, and at
// last for the process, without a bound.
func (p *runningPlugin) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.client.Kill()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.New("the call of Kill has not returned")
	}
	if strings.Contains(p.log.String(), killed) {
		return errors.New(killed)
	}
	return nil
}
