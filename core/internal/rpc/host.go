package rpc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// Host is one host of a plugin, as the plugin calls it.
type Host struct {
	plugin  *Plugin
	session string // the identity of the session
	any     bool   // not one host: see AnyHost

	client atomic.Pointer[calls.Client] // of a session with an identity, once it is known
}

var _ grpc.ClientConnInterface = (*Host)(nil)

// HostOf returns the host that has made a call, by the context of the call. It returns nil
// for any other context.
func HostOf(ctx context.Context) *Host {
	info := calls.Caller(ctx)
	if info == nil {
		return nil
	}
	h, _ := info.Owner.(*Host)
	return h
}

// AnyHost returns the host that has started the plugin. If no host has, calls go to the
// host that came last.
func (p *Plugin) AnyHost() *Host { return &Host{plugin: p, any: true} }

// Owner returns [PluginConfig.Owner].
func (h *Host) Owner() any { return h.plugin.owner }

// Session returns the identity of the session with the host. It is empty for a host that
// gives its sessions none, and before any host has come.
func (h *Host) Session() string {
	if h.any {
		return h.plugin.hosts.any()
	}
	return h.session
}

// Invoke implements [grpc.ClientConnInterface].
func (h *Host) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c, err := h.conn(ctx)
	if err != nil {
		return err
	}
	return c.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (h *Host) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c, err := h.conn(ctx)
	if err != nil {
		return nil, err
	}
	return c.NewStream(ctx, desc, method, opts...)
}

// conn returns what a call goes to. A host is ready for it a moment after its own first
// call can come.
func (h *Host) conn(ctx context.Context) (calls.Client, error) {
	if c := h.client.Load(); c != nil {
		return *c, nil
	}
	if h.plugin.none != nil {
		return nil, h.plugin.none()
	}
	c, err := h.plugin.hosts.await(ctx, h)
	if err == nil && h.session != "" {
		h.client.Store(&c)
	}
	return c, err
}

const (
	// callbacksTimeout is how long a call to a host waits for the stream that it goes on.
	// The host opens that right after the one for its own calls, so only the very first
	// call can come before it.
	callbacksTimeout = 10 * time.Second
	// maxHosts bounds the hosts that a plugin can call: each holds a descriptor and
	// goroutines. A person debugs with a few.
	maxHosts = 64
)

// hosts are the ways of a plugin to its hosts, by the identities of their sessions.
type hosts struct {
	launcher string // the identity of the host that has started the plugin; may be empty

	mu      sync.Mutex    // guards the fields below, and all links
	links   []*link       // in the order in which they came; those that have ended are kept for a while
	changed chan struct{} // closed, and made again, when a link changes
	closed  bool
	last    string // the identity of the session that came last
	hasMain bool   // the host that has started the plugin has come
}

// link is the way to one host.
type link struct {
	session string
	client  calls.Client // nil until it is connected
	err     error        // why it cannot be connected
	ended   bool
}

func newHosts(launcher string) *hosts {
	return &hosts{launcher: launcher, changed: make(chan struct{})}
}

// note notes that a host has opened a stream.
func (h *hosts) note(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = session
	h.hasMain = h.hasMain || session == h.launcher && session != ""
}

// any returns the identity of the session with [Plugin.AnyHost].
func (h *hosts) any() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hasMain {
		return h.launcher
	}
	return h.last
}

// enter adds a link. It returns nil if there are too many, or if the session has one. A
// plugin that was started by a host has one host that gives its session no identity.
func (h *hosts) enter(session string) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	live := 0
	for _, l := range h.links {
		if !l.ended {
			live++
		}
		if l.session == session && (session != "" || h.launcher != "") {
			return nil
		}
	}
	if live == maxHosts || h.closed {
		return nil
	}
	if len(h.links) == 2*maxHosts {
		i := slices.IndexFunc(h.links, func(l *link) bool { return l.ended })
		h.links = slices.Delete(h.links, i, i+1)
	}
	l := &link{session: session}
	h.links = append(h.links, l)
	return l
}

// connect makes calls go to client.
func (h *hosts) connect(l *link, client calls.Client) { h.change(func() { l.client = client }) }

// fail makes calls fail.
func (h *hosts) fail(l *link, err error) {
	h.change(func() {
		l.err = calls.NotSent(codes.Unavailable, fmt.Sprintf("the stream for calls to the host: %v", err)).Err()
		l.ended = true
	})
}

// leave is the end of a link.
func (h *hosts) leave(l *link) { h.change(func() { l.ended = true }) }

// close makes calls that still wait fail.
func (h *hosts) close() { h.change(func() { h.closed = true }) }

func (h *hosts) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

// await returns the client of a host.
func (h *hosts) await(ctx context.Context, host *Host) (calls.Client, error) {
	var timeout <-chan time.Time
	for {
		h.mu.Lock()
		l, closed, changed := h.find(host), h.closed, h.changed
		var client calls.Client
		var err error
		if l != nil {
			client, err = l.client, l.err
		}
		h.mu.Unlock()
		switch {
		case client != nil || err != nil:
			return client, err
		case closed:
			return nil, calls.NotSent(codes.Unavailable, "this plugin is shutting down").Err()
		case timeout == nil:
			timer := time.NewTimer(callbacksTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, notSent(ctx)
		case <-timeout:
			return nil, calls.NotSent(codes.Unavailable, fmt.Sprintf("no host has opened the stream for calls to it within %v", callbacksTimeout)).Err()
		}
	}
}

// find returns the link of a host, or nil. The caller holds mu.
func (h *hosts) find(host *Host) *link {
	var last *link
	for _, l := range slices.Backward(h.links) {
		switch {
		case !host.any && l.session != host.session: // another host must not get these calls
		case host.any && h.launcher != "" && l.session == h.launcher:
			return l
		case last == nil, last.ended && !l.ended:
			last = l
		}
	}
	return last
}

// notSent returns the error of a call whose context has ended before it was sent.
func notSent(ctx context.Context) error {
	s := status.FromContextError(ctx.Err())
	return calls.NotSent(s.Code(), s.Message()).Err()
}
