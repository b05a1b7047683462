package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/protocol"
)

const (
	// knockPatience is how long a knock waits for this side to accept its id. It is less
	// than the five seconds that go-plugin waits for the answer.
	knockPatience = 4 * time.Second
	// maxKnocks bounds the knocks that wait. go-plugin sends one at a time.
	maxKnocks = 64
	// maxBacklog bounds the streams of one id that wait for the server, which accepts them
	// at once.
	maxBacklog = 64
	// drainTimeout is how long calls may take to end once the context of Serve has.
	drainTimeout = time.Second
)

// Serve implements [broker.Broker].
func (b *Broker) Serve(ctx context.Context, id uint32, bindings ...protocol.Binding) error {
	application, err := control.Unnegotiated(bindings)
	if err == nil {
		err = b.serve(ctx, id, application)
	}
	if err != nil {
		return fmt.Errorf("broker: serve id %d: %w", id, err)
	}
	return nil
}

// application is what is served under an id.
type application interface {
	// Register adds the services to a server.
	Register(r grpc.ServiceRegistrar) error
	// RequiresServer reports whether services register themselves on a *grpc.Server.
	RequiresServer() bool
}

// serve serves an application until ctx ends.
func (b *Broker) serve(ctx context.Context, id uint32, services application) error {
	ln, end, err := b.accept(ctx, id)
	if err != nil {
		if ctx.Err() != nil {
			return nil // the caller has ended serving
		}
		return err
	}
	defer end()
	server, err := h2.NewServer(calls.ServerConfig{
		Side:           b.cfg.Side,
		Other:          b.cfg.Other,
		MaxMessageSize: b.cfg.MaxMessageSize,
		Limits:         b.cfg.Limits,
		Logger:         b.cfg.Logger,
		Application:    services.Register,
		RequiresServer: services.RequiresServer(),
		IsControl:      control.IsControl,
		Unary:          b.cfg.UnaryServer,
		Stream:         b.cfg.StreamServer,
		Stats:          b.cfg.ServerStats,
		OnPanic:        b.cfg.OnPanic,
	})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	if !b.run(func() { served <- server.Serve(ln) }) {
		server.Close()
		return context.Cause(b.ctx)
	}
	select {
	case err = <-served:
		served <- nil
	case <-b.ctx.Done():
		err = context.Cause(b.ctx)
	case <-ctx.Done():
		// Handlers that ignore their context go on: nothing can end them.
		drain, cancel := context.WithTimeout(b.ctx, drainTimeout)
		_ = server.Drain(drain)
		_ = server.Stop(drain, drainTimeout)
		cancel()
	}
	server.Close()
	return errors.Join(err, <-served)
}

// accept makes a listener for one id, and tells the other side. The connections are of type
// *session.Stream. end ends the listener.
func (b *Broker) accept(ctx context.Context, id uint32) (ln net.Listener, end func(), err error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	if b.cfg.Streams != nil {
		if _, err := b.linked(ctx); err != nil { // without a link no knock can come
			return nil, nil, err
		}
		a, err := b.acceptStreams(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		return a, func() { _ = a.Close() }, nil
	}
	a, err := b.register(id)
	if err != nil {
		return nil, nil, err
	}
	own, network, address, err := b.cfg.Listen(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, a.Close())
	}
	end = func() {
		own.End()
		_ = a.Close() // always nil
	}
	if err := b.say(ctx, &messages.ConnInfo{ServiceID: id, Network: network, Address: address}); err != nil {
		end()
		return nil, nil, err
	}
	return own, end, nil
}

// acceptor stands for the serving of one id. On a multiplexed connection it is the listener
// for the streams of that id.
type acceptor struct {
	broker  *Broker
	id      uint32
	streams chan *session.Stream
	closed  chan struct{}
	once    sync.Once
}

var errIDInUse = errors.New("this side serves it already")

// register records that an id is served. It fails if the id is served already.
func (b *Broker) register(id uint32) (*acceptor, error) {
	a := &acceptor{broker: b, id: id, streams: make(chan *session.Stream, maxBacklog), closed: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acceptors[id] != nil {
		return nil, errIDInUse
	}
	b.acceptors[id] = a
	return a, nil
}

func (b *Broker) acceptStreams(ctx context.Context, id uint32) (*acceptor, error) {
	a, err := b.register(id)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	knock, waiting := b.knocks[id]
	l := b.link
	b.mu.Unlock()
	if waiting && knock.Stop() {
		b.forgetKnock(id)
		b.answer(ctx, l, id, a)
	}
	return a, nil
}

func (b *Broker) forgetKnock(id uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.knocks, id)
}

// knocked handles a knock: the other side wants to open a stream for an id. A host whose link
// another host has replaced gets no answer.
func (b *Broker) knocked(l *link, id uint32) {
	b.mu.Lock()
	if b.link != l {
		b.mu.Unlock()
		return
	}
	a := b.acceptors[id]
	_, again := b.knocks[id]
	if a == nil && !again && len(b.knocks) < maxKnocks && b.cfg.Streams != nil && b.ctx.Err() == nil {
		b.knocks[id] = time.AfterFunc(knockPatience, func() {
			b.forgetKnock(id)
			b.answer(b.ctx, l, id, nil)
		})
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	if !again {
		b.answer(b.ctx, l, id, a)
	}
}

// answer accepts a knock, or says why not. It blocks while the other side does not read,
// until ctx ends.
func (b *Broker) answer(ctx context.Context, l *link, id uint32, a *acceptor) {
	if l == nil {
		return
	}
	m := outgoing{ConnInfo: &messages.ConnInfo{ServiceID: id, Knock: &messages.Knock{Knock: true, Ack: true}}}
	switch {
	case b.cfg.Streams == nil:
		m.Knock.Error = "the " + b.cfg.Side + " does not multiplex connections"
	case a == nil:
		m.Knock.Error = fmt.Sprintf("the %s does not accept id %d", b.cfg.Side, id)
	default:
		m.acceptor = a
	}
	select {
	case l.out <- m:
	case <-l.done:
	case <-ctx.Done():
	}
}

// deliver takes a stream.
func (a *acceptor) deliver(s *session.Stream) {
	select {
	case a.streams <- s:
	default:
		_ = s.Close() // the opener sees that
	}
	select {
	case <-a.closed:
		a.drop()
	default:
	}
}

// drop closes streams that came too late.
func (a *acceptor) drop() {
	for {
		select {
		case s := <-a.streams:
			_ = s.Close()
		default:
			return
		}
	}
}

// Accept implements [net.Listener].
func (a *acceptor) Accept() (net.Conn, error) {
	select {
	case s := <-a.streams:
		return s, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (a *acceptor) Close() error {
	a.once.Do(func() {
		close(a.closed)
		a.broker.mu.Lock()
		if a.broker.acceptors[a.id] == a {
			delete(a.broker.acceptors, a.id)
		}
		a.broker.mu.Unlock()
		a.drop()
	})
	return nil
}

// Addr implements [net.Listener].
func (a *acceptor) Addr() net.Addr { return announcedAddr{} }

// announcedAddr is the address of streams: they have none.
type announcedAddr struct{}

func (announcedAddr) Network() string { return "brokered" }
func (announcedAddr) String() string  { return "brokered" }
