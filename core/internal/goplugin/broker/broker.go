// Package broker is go-plugin's broker. It makes connections beside the one for calls. Each
// is found by a number, which the two sides exchange in messages of their own (grpc_broker.go
// and internal/grpcmux in go-plugin; docs/protocol.md, "The broker"). Package core/broker has
// the interfaces that users see.
//
// There are two modes. With separate listeners, the side that serves an id opens an address
// for it and sends the address to the other side. With one multiplexed connection, the side
// that dials sends a knock, waits for the acknowledgement, and opens the next stream.
package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

const (
	// timeout bounds the wait for the other side to do its half, if the context does not.
	// It is twice that of go-plugin.
	timeout = 10 * time.Second
	// maxOffers bounds the addresses that the other side has announced and that are kept
	// for a Dial, however late. The oldest are dropped first.
	maxOffers = 1024
	// maxMessage bounds a message of a plugin, in bytes: an address, or a reason.
	maxMessage = 64 << 10
	// sendQueue is how many messages may wait for the other side to read them.
	sendQueue = 16
)

// Config says how a Broker reaches the other side.
type Config struct {
	// Side and Other name this side and the other in errors.
	Side, Other string
	// MaxMessageSize in bytes.
	MaxMessageSize int
	// Limits bound the calls that the other side makes under one id.
	Limits calls.Limits
	// Logger, if set, gets warnings about what a sound peer never does.
	Logger *slog.Logger
	// Listen opens an address that the other side can dial, and returns it as that side
	// calls it.
	Listen func(ctx context.Context) (ln *session.Listener, network, address string, err error)
	// Dial dials an address as the other side calls it, and authenticates both sides.
	Dial func(ctx context.Context, network, address string) (net.Conn, secure.Info, error)
	// Streams are the streams of a multiplexed connection, which are used instead of
	// Listen and Dial; nil for any other connection.
	Streams Streams
	// UnaryServer, StreamServer and ServerStats intercept and observe the calls that this
	// side serves. UnaryClient, StreamClient and ClientStats do so for the calls that it
	// makes.
	UnaryServer  []grpc.UnaryServerInterceptor
	StreamServer []grpc.StreamServerInterceptor
	ServerStats  []stats.Handler
	UnaryClient  []grpc.UnaryClientInterceptor
	StreamClient []grpc.StreamClientInterceptor
	ClientStats  []stats.Handler
	// OnPanic gets a panic in a handler, with its stack.
	OnPanic func(ctx context.Context, method string, value any, stack []byte)
	// Stalled, if set, returns why the other side does not answer, if that is known.
	Stalled func() string
	// Exited, if set, is closed when the other side's process has ended. A call of Close
	// follows, which says how the process ended.
	Exited <-chan struct{}
}

// Streams are one end of a multiplexed connection: a *multiplex.HostEnd or a
// *multiplex.PluginEnd.
type Streams interface {
	// OpenStream opens a stream that the other side expects.
	OpenStream(ctx context.Context) (net.Conn, error)
	// Authenticate authenticates both sides of a stream of OpenStream. It owns the stream.
	Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error)
	// Expect registers deliver for the next stream that the other side opens. It reports
	// false if too many streams are expected.
	Expect(deliver func(*session.Stream)) bool
}

// Broker is one side's end, and what [broker.Broker] promises. Its methods are safe for
// concurrent use.
type Broker struct {
	cfg     Config
	nextID  atomic.Uint32
	dialing chan struct{} // holds an item while a stream is opened: only their order tells streams apart

	ctx   context.Context //nolint:containedctx // the broker's own life, not a caller's
	end   context.CancelCauseFunc
	tasks sync.WaitGroup

	mu        sync.Mutex    // guards the fields below
	changed   chan struct{} // closed and replaced with every change
	link      *link         // nil while there is no link
	refusal   error         // why there will never be a link; may be nil
	offers    map[uint32]messages.ConnInfo
	order     []uint32 // of offers, the oldest first
	acceptors map[uint32]*acceptor
	knocks    map[uint32]*time.Timer // of the other side, for ids that this side does not serve yet
	dials     map[uint32]*dial       // knocks of this side that wait for an answer
	abandoned map[uint32]int         // knocks of this side that may still be acknowledged
}

// link is the stream that carries messages both ways.
type link struct {
	out  chan outgoing
	done chan struct{} // closed when the sending has ended
}

// outgoing is a message to the other side.
type outgoing struct {
	*messages.ConnInfo
	acceptor *acceptor // gets the stream that the message makes the other side open; nil for none
}

var _ broker.Broker = (*Broker)(nil)

// New makes a broker without a link. Close it.
func New(cfg Config) *Broker {
	b := &Broker{
		cfg:       cfg,
		dialing:   make(chan struct{}, 1),
		changed:   make(chan struct{}),
		offers:    make(map[uint32]messages.ConnInfo),
		acceptors: make(map[uint32]*acceptor),
		knocks:    make(map[uint32]*time.Timer),
		dials:     make(map[uint32]*dial),
		abandoned: make(map[uint32]int),
	}
	b.ctx, b.end = context.WithCancelCause(context.Background())
	return b
}

// NextID implements [broker.Broker].
func (b *Broker) NextID() uint32 { return b.nextID.Add(1) }

// Close ends everything: connections fail with reason, and servers stop. It waits for the
// goroutines.
func (b *Broker) Close(reason error) {
	b.end(reason)
	b.mu.Lock()
	b.dropKnocks()
	b.mu.Unlock()
	b.tasks.Wait()
}

// dropKnocks forgets the knocks that wait. The caller holds mu.
func (b *Broker) dropKnocks() {
	for _, timer := range b.knocks {
		timer.Stop()
	}
	clear(b.knocks)
}

// run runs f in a goroutine that Close waits for. After Close it reports false, and does not
// run f.
func (b *Broker) run(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	b.tasks.Go(f)
	return true
}

// Register adds the service through which a host opens the link.
func (b *Broker) Register(r grpc.ServiceRegistrar) { messages.RegisterBroker(r, b) }

// Start opens the link to a plugin.
func (b *Broker) Start(cc grpc.ClientConnInterface) {
	b.run(func() {
		s, err := messages.StartStream(b.ctx, cc, grpc.MaxCallRecvMsgSize(maxMessage))
		if err == nil {
			err = b.Exchange(s)
		}
		if status.Code(err) == codes.Unimplemented {
			err = fmt.Errorf("the %s does not broker connections: it has no broker", b.cfg.Other)
		} else {
			err = fmt.Errorf("the broker's stream to the %s has ended: %w", b.cfg.Other, err)
		}
		b.refuse(err)
	})
}

// refuse records why there will be no link.
func (b *Broker) refuse(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusal = reason
	b.change()
}

func (b *Broker) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Exchange implements [messages.Broker]: it serves one link. A newer link, of a host that has
// attached, replaces it.
func (b *Broker) Exchange(s messages.Stream) error {
	l := &link{out: make(chan outgoing, sendQueue), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	if !b.run(func() { b.send(ctx, l, s) }) {
		return net.ErrClosed
	}
	b.mu.Lock()
	b.link = l
	clear(b.offers) // they are, like the knocks, of another host, which uses the same numbers
	b.order = nil
	b.dropKnocks()
	b.change()
	b.mu.Unlock()
	defer b.forget(l)
	for {
		m := new(messages.ConnInfo)
		if err := s.RecvMsg(m); err != nil {
			return err
		}
		b.receive(l, m)
	}
}

// send sends the queue until ctx or the stream ends. A SendMsg ends with the stream. When send
// ends, each sender that waits for room in the queue gives up. The receiving goroutine may be
// such a sender, and would otherwise never see the end of the stream.
//
// A stream is expected only once its acknowledgement is sent. Streams are told apart by their
// order, which an expectation without a stream would break.
func (b *Broker) send(ctx context.Context, l *link, s messages.Stream) {
	defer close(l.done)
	for {
		select {
		case m := <-l.out:
			if m.acceptor != nil && !b.cfg.Streams.Expect(m.acceptor.deliver) {
				m.Knock.Error = fmt.Sprintf("the %s expects too many streams already", b.cfg.Side)
			}
			if err := s.SendMsg(m.ConnInfo); err != nil {
				return // the receiving goroutine notices it too
			}
		case <-ctx.Done():
			return
		case <-s.Context().Done():
			return
		}
	}
}

// receive handles a message.
func (b *Broker) receive(l *link, m *messages.ConnInfo) {
	switch {
	case m.Knock == nil:
		b.offered(l, *m)
	case m.Knock.Ack:
		b.acknowledged(m.ServiceID, m.Knock.Error)
	default:
		b.knocked(l, m.ServiceID)
	}
}

// offered keeps an address for as long as the link lives. go-plugin drops an address after
// five seconds, and a later Dial fails. offered ignores an address that is too long to be
// dialed, since there may be maxOffers of them. It also ignores one of a host whose link
// another host has replaced, since hosts use the same numbers.
func (b *Broker) offered(l *link, m messages.ConnInfo) {
	if len(m.Network)+len(m.Address) > transport.MaxAddressLen {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != l {
		return
	}
	if _, ok := b.offers[m.ServiceID]; !ok {
		if len(b.order) == maxOffers {
			delete(b.offers, b.order[0])
			b.order = b.order[1:]
		}
		b.order = append(b.order, m.ServiceID)
	}
	b.offers[m.ServiceID] = m
	b.change()
}

// bound ends ctx with the broker, and after timeout if ctx has no deadline.
func (b *Broker) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })
	end := func() {
		stop()
		cancel(nil)
	}
	if _, ok := ctx.Deadline(); ok {
		return ctx, end
	}
	ctx, cancelTimeout := context.WithTimeout(ctx, timeout)
	return ctx, func() {
		cancelTimeout()
		end()
	}
}

// await calls find, with mu held, until find reports true, ctx ends, or there will be no
// link. late describes what has not come.
func (b *Broker) await(ctx context.Context, late string, find func() bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !find() {
		if b.refusal != nil {
			return b.refusal
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		b.mu.Lock()
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("%s: %w", late, err)
		}
	}
	return nil
}

// linked returns the link as soon as there is one.
func (b *Broker) linked(ctx context.Context) (l *link, err error) {
	late := fmt.Sprintf("the %s has not opened the broker's stream", b.cfg.Other)
	err = b.await(ctx, late, func() bool { l = b.link; return l != nil })
	return l, err
}

// say sends a message as soon as there is a link.
func (b *Broker) say(ctx context.Context, m *messages.ConnInfo) error {
	for {
		l, err := b.linked(ctx)
		if err != nil {
			return err
		}
		select {
		case l.out <- outgoing{ConnInfo: m}:
			return nil
		case <-l.done: // there may be another link
			b.forget(l)
		case <-ctx.Done():
			return fmt.Errorf("the %s does not read the broker's messages: %w", b.cfg.Other, context.Cause(ctx))
		}
	}
}

// forget removes a link that has ended.
func (b *Broker) forget(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == l {
		b.link = nil
	}
}
