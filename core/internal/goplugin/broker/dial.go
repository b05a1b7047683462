package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

// conn is a connection to what the other side serves under one id.
type conn struct {
	peer  *h2.Client
	close func()
	done  chan struct{} // closed when the peer is closed
}

// Invoke implements [grpc.ClientConnInterface].
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.peer.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.peer.NewStream(ctx, desc, method, opts...)
}

// Close implements [broker.Conn].
func (c *conn) Close() error {
	c.close()
	<-c.done
	return nil
}

// Dial implements [broker.Broker].
func (b *Broker) Dial(ctx context.Context, id uint32) (broker.Conn, error) {
	c, err := b.dial(ctx, id)
	if err != nil && isLoss(err) {
		b.awaitEnd(ctx)
	}
	if reason := context.Cause(b.ctx); err != nil && reason != nil {
		err = reason
	}
	if err != nil {
		return nil, fmt.Errorf("broker: dial id %d: %w", id, err)
	}
	return c, nil
}

func (b *Broker) dial(ctx context.Context, id uint32) (*conn, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	link, err := b.open(ctx, id)
	if err != nil {
		return nil, err
	}
	peer, err := h2.Connect(ctx, calls.ClientConfig{
		Side:           b.cfg.Side,
		Other:          b.cfg.Other,
		MaxMessageSize: b.cfg.MaxMessageSize,
		Logger:         b.cfg.Logger,
		IsControl:      control.IsControl,
		Unary:          b.cfg.UnaryClient,
		Stream:         b.cfg.StreamClient,
		Stats:          b.cfg.ClientStats,
		Stalled:        b.cfg.Stalled,
	}, link)
	if err != nil {
		return nil, err
	}
	return b.watched(peer, id)
}

// open opens the first connection to what the other side serves under an id, and says
// how to open the next: a server may renew its connections, and with an address of its
// own it is dialed there again. On one multiplexed connection the end of a stream is
// that of what is served.
func (b *Broker) open(ctx context.Context, id uint32) (h2.Link, error) {
	if b.cfg.Streams != nil {
		conn, info, err := b.dialStream(ctx, id)
		return h2.Link{Stream: &session.Stream{Conn: conn, Info: info}}, err
	}
	conn, info, offer, err := b.dialAddress(ctx, id)
	link := h2.Link{Stream: &session.Stream{Conn: conn, Info: info}}
	link.Redial = func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := b.bound(ctx)
		defer cancel()
		conn, _, err := b.cfg.Dial(ctx, offer.Network, offer.Address)
		return conn, err
	}
	return link, err
}

// watched returns a connection whose calls end with it, or with the broker.
func (b *Broker) watched(peer *h2.Client, id uint32) (*conn, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	c := &conn{peer: peer, close: cancel, done: make(chan struct{})}
	started := b.run(func() {
		defer close(c.done)
		select {
		case <-peer.Lost():
			b.awaitEnd(ctx)
			if reason := context.Cause(b.ctx); reason != nil {
				peer.Fail(reason)
			}
			peer.Fail(fmt.Errorf("the connection with id %d to the %s has ended: %w", id, b.cfg.Other, net.ErrClosed))
			<-ctx.Done() // until it is closed, calls say so
		case <-ctx.Done():
			if reason := context.Cause(b.ctx); reason != nil {
				peer.Fail(reason)
			}
		}
		peer.Close()
	})
	if !started {
		cancel()
		peer.Close()
		return nil, context.Cause(b.ctx)
	}
	return c, nil
}

// exitPatience is how long the process of the other side may take to end after a
// connection did, before the connection counts as one that ended alone. It bounds
// how long a call waits to learn why it failed.
const exitPatience = 500 * time.Millisecond

// awaitEnd waits for the end of the broker if the other side's process ends now, so
// that what fails with a connection is told how the process ended.
func (b *Broker) awaitEnd(ctx context.Context) {
	if b.cfg.Exited == nil {
		return
	}
	select {
	case <-b.cfg.Exited:
	case <-ctx.Done():
		return
	case <-time.After(exitPatience):
		return
	}
	select {
	case <-b.ctx.Done():
	case <-ctx.Done():
	}
}

// isLoss reports whether an error is one that the end of the other process can be the
// reason of.
func isLoss(err error) bool {
	return status.Code(err) == codes.Unavailable || slices.ContainsFunc([]error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET,
	}, func(loss error) bool { return errors.Is(err, loss) })
}

// dialAddress waits for the address that the other side announces, and dials it. One
// at which nobody listens any more is that of a server that has ended: another may be
// about to begin, which announces an address of its own.
func (b *Broker) dialAddress(ctx context.Context, id uint32) (conn net.Conn, info secure.Info, offer messages.ConnInfo, err error) {
	late := fmt.Sprintf("the %s has not accepted it", b.cfg.Other)
	for {
		err = b.await(ctx, late, func() (ok bool) {
			offer, ok = b.offers[id]
			return ok
		})
		if err != nil {
			return nil, secure.Info{}, offer, err
		}
		conn, info, err = b.cfg.Dial(ctx, offer.Network, offer.Address)
		if !errors.Is(err, errRefused) && !errors.Is(err, fs.ErrNotExist) {
			return conn, info, offer, err
		}
		b.withdraw(id, offer)
		late = fmt.Sprintf("the %s no longer accepts it (%v)", b.cfg.Other, err)
	}
}

// withdraw forgets an address, unless there is another by now.
func (b *Broker) withdraw(id uint32, offer messages.ConnInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.offers[id]; known.Network == offer.Network && known.Address == offer.Address {
		delete(b.offers, id)
		b.order = slices.DeleteFunc(b.order, func(x uint32) bool { return x == id })
	}
}

// dial is a knock that waits for its answer. The broker's mu guards it.
type dial struct {
	answered bool     // the answer has come, and done will
	done     bool     // what follows is set
	stream   net.Conn // the one that the other side expects; nil with an error
	err      error
}

const (
	// knockLife is how long a knock counts as on its way. go-plugin forgets one that
	// nobody has accepted after five seconds, and says nothing.
	knockLife = 6 * time.Second
	// knockPause is how long to wait after a knock that was refused: long beside
	// what one costs, short beside what a person waits.
	knockPause = 100 * time.Millisecond
)

var errNoAnswer = fmt.Errorf("it has not answered within %v", knockLife)

// notYetError is of a knock in vain: the other side may accept the id later.
type notYetError struct{ error }

func (e *notYetError) Unwrap() error { return e.error }

// dialStream knocks until the other side has accepted the id, as somebody may be
// about to, and has the stream that the other side expects then.
func (b *Broker) dialStream(ctx context.Context, id uint32) (net.Conn, secure.Info, error) {
	var refusal error // of the last knock in vain
	for {
		stream, info, err := b.tryStream(ctx, id)
		if _, later := errors.AsType[*notYetError](err); later {
			refusal = err
			select {
			case <-time.After(knockPause):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil && refusal != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", refusal, context.Cause(ctx))
		}
		return stream, info, err
	}
}

// tryStream knocks once. Who else dials has his turn after that.
func (b *Broker) tryStream(ctx context.Context, id uint32) (net.Conn, secure.Info, error) {
	select {
	case b.dialing <- struct{}{}:
		defer func() { <-b.dialing }()
	case <-ctx.Done():
		return nil, secure.Info{}, fmt.Errorf("another is being dialed: %w", context.Cause(ctx))
	}
	stream, err := b.knock(ctx, id)
	if err != nil {
		return nil, secure.Info{}, err
	}
	return b.cfg.Streams.Authenticate(ctx, stream)
}

func (b *Broker) knock(ctx context.Context, id uint32) (net.Conn, error) {
	attempt, cancel := context.WithTimeoutCause(ctx, knockLife, errNoAnswer)
	defer cancel()
	d := new(dial)
	b.mu.Lock()
	b.dials[id] = d
	b.mu.Unlock()
	sent := false
	err := b.say(attempt, &messages.ConnInfo{ServiceID: id, Knock: &messages.Knock{Knock: true}})
	if err == nil {
		sent = true
		err = b.await(attempt, fmt.Sprintf("the %s has not accepted it", b.cfg.Other), func() bool { return d.done })
	}
	if errors.Is(err, errNoAnswer) {
		err = &notYetError{err}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.dials, id)
	switch {
	case d.done: // it may have come at the same moment
		return d.stream, d.err
	case sent && !d.answered && len(b.abandoned) < maxOffers:
		b.abandoned[id]++
	}
	return nil, err
}

// acknowledged takes in the answer to a knock of this side. If it says yes, the
// other side takes the next stream for the one that it expects. So this opens it
// here, where answers come one after another, and also if nobody waits for it any
// more: then it is closed, and no other is taken for it.
func (b *Broker) acknowledged(id uint32, refused string) {
	if b.cfg.Streams == nil {
		return
	}
	b.mu.Lock()
	d := b.dials[id]
	switch {
	case d != nil && !d.answered: // also to an earlier knock: go-plugin keeps one of several
		d.answered = true
	case b.abandoned[id] > 0:
		d = nil
		if b.abandoned[id]--; b.abandoned[id] == 0 {
			delete(b.abandoned, id)
		}
	default: // to no knock at all
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	var stream net.Conn
	var err error
	if refused == "" {
		ctx, cancel := b.bound(context.Background())
		defer cancel()
		stream, err = b.cfg.Streams.OpenStream(ctx)
	} else {
		err = &notYetError{fmt.Errorf("the %s refuses: %.256q", b.cfg.Other, refused)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if d != nil && b.dials[id] == d {
		d.done, d.stream, d.err = true, stream, err
		b.change()
	} else if stream != nil {
		_ = stream.Close() // nothing was said on it
	}
}
