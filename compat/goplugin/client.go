package plugin

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/plugwire/plugwire/core/host"
)

// Killed is 1 after [CleanupClients] was called. Read it with sync/atomic.
var Killed uint32 = 0

// managed are the clients that CleanupClients ends: those that are Managed and were started.
var managed struct {
	mu      sync.Mutex // guards clients
	clients []*Client
}

// CleanupClients ends the plugins of all clients that are Managed, at once.
func CleanupClients() {
	atomic.StoreUint32(&Killed, 1)
	managed.mu.Lock()
	clients := slices.Clone(managed.clients)
	managed.mu.Unlock()
	var ending sync.WaitGroup
	for _, c := range clients {
		ending.Go(c.Kill)
	}
	ending.Wait()
}

// Client starts one plugin, and ends it. Its methods are safe for concurrent use.
type Client struct {
	config *ClientConfig

	starting sync.Mutex // held during a start
	exited   atomic.Bool

	mu          sync.Mutex         // guards the fields below
	cancelStart context.CancelFunc // nil unless a start runs
	kills       int                // number of calls of Kill that run
	plugin      *host.Plugin       // nil before the start
	addr        net.Addr           // where the plugin listens
	id          string             // of the running plugin
	version     int
	protocol    *GRPCClient
	reattach    *ReattachConfig
}

// NewClient returns a client for one plugin. Call [Client.Kill] in the end, or
// [CleanupClients] for a client that is Managed.
func NewClient(config *ClientConfig) (c *Client) {
	config.setDefaults()
	return &Client{config: config}
}

// Client starts the plugin, unless it was started before, and returns what dispenses the
// plugins in it.
func (c *Client) Client() (ClientProtocol, error) {
	if _, err := c.Start(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.protocol, nil
}

// Start starts the plugin, unless it was started before, and returns where it listens. The
// plugin can be called then. After an error nothing of the plugin is left, and Start can be
// called again.
func (c *Client) Start() (addr net.Addr, err error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	c.mu.Lock()
	if c.addr != nil || c.kills > 0 {
		defer c.mu.Unlock()
		if c.addr == nil {
			return nil, errKilled
		}
		return c.addr, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancelStart = cancel
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.cancelStart = nil
		c.mu.Unlock()
		cancel()
	}()
	c.manage()
	s, err := c.start(ctx)
	if err != nil {
		c.exited.Store(true)
		c.forget()
		return nil, err
	}
	return s.addr, nil
}

// Kill ends the plugin, and returns when nothing of it is left. The plugin has ten seconds to
// finish its calls and to exit. Starts that run or wait are given up.
func (c *Client) Kill() {
	c.mu.Lock()
	c.kills++
	if c.cancelStart != nil {
		c.cancelStart()
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.kills--
		c.mu.Unlock()
	}()
	c.starting.Lock()
	defer c.starting.Unlock()
	c.mu.Lock()
	p, protocol := c.plugin, c.protocol
	c.mu.Unlock()
	if p != nil {
		if err := protocol.Close(); err != nil {
			c.config.Logger.Warn("the plugin did not end in good order", "error", err)
		}
	}
	c.mu.Lock()
	c.id = ""
	c.mu.Unlock()
	c.forget()
}

// manage adds a client that is Managed to those that CleanupClients ends.
func (c *Client) manage() {
	if !c.config.Managed {
		return
	}
	managed.mu.Lock()
	defer managed.mu.Unlock()
	managed.clients = append(managed.clients, c)
}

// forget removes the client from those that CleanupClients ends.
func (c *Client) forget() {
	managed.mu.Lock()
	defer managed.mu.Unlock()
	managed.clients = slices.DeleteFunc(managed.clients, func(other *Client) bool { return other == c })
}

// Exited reports whether the plugin has ended.
func (c *Client) Exited() bool { return c.exited.Load() }

// ID returns the number of the plugin's process, or the ID of its runner. It is empty unless
// the plugin was started, and after Kill.
func (c *Client) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// NegotiatedVersion returns the version that the two sides chose, 0 before the start.
func (c *Client) NegotiatedVersion() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// Protocol starts the plugin, unless it was started before, and returns ProtocolGRPC. It
// returns ProtocolInvalid if the plugin cannot be started.
func (c *Client) Protocol() Protocol {
	if _, err := c.Start(); err != nil {
		return ProtocolInvalid
	}
	return ProtocolGRPC
}

// ReattachConfig returns how another client reaches the plugin, nil before the start. The
// host that has started a plugin takes it along when it ends; see the README of the module for
// plugins that outlive their host.
func (c *Client) ReattachConfig() *ReattachConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.addr == nil {
		return nil
	}
	if c.config.Reattach != nil {
		return c.config.Reattach
	}
	again := *c.reattach
	return &again
}

var errKilled = errors.New("plugin: Kill was called during the start")

var errNotOne = errors.New("exactly one of Cmd, or Reattach, or RunnerFunc must be set")

var errMultiplexReattach = errors.New("gRPC broker multiplexing is not supported with Reattach config")
