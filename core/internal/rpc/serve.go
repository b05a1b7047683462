package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// PluginConfig says what a [Plugin] does.
type PluginConfig struct {
	// Wire is the name of the wire that was agreed on.
	Wire string
	// Listener yields the streams that hosts open. Close and Stop close it; its owner ends
	// it.
	Listener *session.Listener
	// Server is what the plugin serves.
	Server calls.ServerConfig
	// Client is how the plugin calls its hosts.
	Client calls.ClientConfig
	// NoHost, if set, makes the error of each call to a host: the plugin's host serves
	// nothing. It is a function because the details of a status are dear at each start.
	NoHost func() error
	// Launcher is the identity of the session with the host that has started the plugin.
	// It is empty for a plugin that no host has started.
	Launcher string
	// Owner is what handlers find by [Host.Owner].
	Owner any
}

// Plugin is a plugin's end of the sessions with its hosts: it serves their calls, and
// calls them. Its methods are safe for concurrent use.
type Plugin struct {
	acceptor calls.Acceptor
	ln       *session.Listener
	owner    any
	none     func() error // why no host can be called; nil if hosts can
	hosts    *hosts
	failed   chan error

	ctx    context.Context //nolint:containedctx // the Plugin's own life, not a caller's
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Serve begins to serve what hosts open. Close the Plugin.
func Serve(cfg PluginConfig) (*Plugin, error) {
	w, err := find(cfg.Wire)
	if err != nil {
		return nil, err
	}
	acceptor, err := w.NewAcceptor(cfg.Server, cfg.Client)
	if err != nil {
		return nil, err
	}
	p := &Plugin{
		acceptor: acceptor,
		ln:       cfg.Listener,
		owner:    cfg.Owner,
		none:     cfg.NoHost,
		hosts:    newHosts(cfg.Launcher),
		failed:   make(chan error, 1),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tasks.Go(func() {
		if err := p.accept(); !errors.Is(err, net.ErrClosed) {
			p.failed <- err
		}
	})
	return p, nil
}

// Failed yields why the Plugin can no longer accept streams, if that was not the end of
// its own Listener.
func (p *Plugin) Failed() <-chan error { return p.failed }

func (p *Plugin) accept() error {
	for {
		conn, err := p.ln.Accept()
		if err != nil {
			return err
		}
		stream, ok := conn.(*session.Stream)
		if !ok {
			return errors.Join(fmt.Errorf("a %T is not a stream of a session", conn), conn.Close())
		}
		p.tasks.Go(func() { p.serve(stream) })
	}
}

// serve serves a stream of a host, and makes calls to the host on it, if it is for that.
func (p *Plugin) serve(stream *session.Stream) {
	stream.Info.Owner = &Host{plugin: p, session: stream.Session}
	p.hosts.note(stream.Session)
	var link *link
	if stream.Purpose == session.Callbacks {
		// The stream holds a descriptor and goroutines while the host says nothing on it.
		if p.none == nil {
			link = p.hosts.enter(stream.Session)
		}
		if link == nil {
			_ = stream.Close() // the host sees that
			return
		}
	}
	ctx := p.ctx
	if p.hosts.launcher == "" { // hosts come and go
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callbacksTimeout)
		defer cancel()
	}
	client, err := p.acceptor.Accept(ctx, stream)
	if client == nil {
		if link != nil {
			p.hosts.fail(link, err)
		}
		return
	}
	defer client.Close()
	if link == nil {
		if link = p.hosts.enter(stream.Session); link == nil {
			return
		}
	}
	p.hosts.connect(link, client)
	select {
	case <-client.Lost():
	case <-p.ctx.Done():
	}
	client.Fail(errHostLost)
	p.hosts.leave(link)
}

var errHostLost = fmt.Errorf("the connection to the host was lost: %w", net.ErrClosed)

// Drain refuses new calls, and waits until those in flight have ended: see
// [calls.Server].
func (p *Plugin) Drain(ctx context.Context) error { return p.acceptor.Drain(ctx) }

// Stop accepts no more streams, and ends the serving: see [calls.Server].
func (p *Plugin) Stop(ctx context.Context, patience time.Duration) error {
	_ = p.ln.Close() // it may be closed already
	return p.acceptor.Stop(ctx, patience)
}

// Close ends everything at once, calls to hosts too, and waits for the goroutines.
func (p *Plugin) Close() {
	_ = p.ln.Close() // it may be closed already
	p.hosts.close()
	p.cancel()
	p.acceptor.Close()
	p.tasks.Wait()
}
