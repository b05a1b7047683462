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

// open opens the first connection to what the other side serves under an id, and says how to
// open the next. A server may renew its connections, and is then dialed again at its address.
// On a multiplexed connection the end of a stream is the end of the server.
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

// watched returns a connection. Its calls end with the connection or with the broker.
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
			<-ctx.Done() // until the connection is closed, calls fail with the reason
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

// exitPatience is how long after a connection the process of the other side may end and still
// count as the reason. It bounds how long a call waits to learn why it failed.
const exitPatience = 500 * time.Millisecond

// awaitEnd waits for the end of the broker if the other side's process ends now. Calls that
// fail with a connection then say how the process ended.
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

// isLoss reports whether the end of the other process can be the reason of an error.
func isLoss(err error) bool {
	return status.Code(err) == codes.Unavailable || slices.ContainsFunc([]error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET,
	}, func(loss error) bool { return errors.Is(err, loss) })
}

// dialAddress waits for the address that the other side announces, and dials it. If no
// process listens there any more, the server has ended. Another may be about to begin, and
// then announces an address of its own.
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

// withdraw forgets an address, unless the other side has announced another by now.
func (b *Broker) withdraw(id uint32, offer messages.ConnInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.offers[id]; known.Network == offer.Network && known.Address == offer.Address {
		delete(b.offers, id)
		b.order = slices.DeleteFunc(b.order, func(x uint32) bool { return x == id })
	}
}

// dial is a knock of this side that waits for its answer. The broker's mu guards it.
type dial struct {
	answered bool     // the answer has come, and done will be set
	done     bool     // the fields below are set
	stream   net.Conn // the stream that the other side expects; nil with an error
	err      error
}

const (
	// knockLife is how long this side waits for the answer to a knock. go-plugin forgets a
	// knock that no server has accepted after five seconds, and does not answer it.
	knockLife = 6 * time.Second
	// knockPause is how long to wait after a knock that was refused: long compared with the
	// cost of a knock, and short for a person.
	knockPause = 100 * time.Millisecond
)

var errNoAnswer = fmt.Errorf("it has not answered within %v", knockLife)

// notYetError is the error of a failed knock. The other side may accept the id later.
type notYetError struct{ error }

func (e *notYetError) Unwrap() error { return e.error }

// dialStream knocks until the other side accepts the id, which it may be about to do. It then
// returns the stream that the other side expects.
func (b *Broker) dialStream(ctx context.Context, id uint32) (net.Conn, secure.Info, error) {
	var refusal error // of the last knock that failed
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

// tryStream knocks once. Other dials wait until it has finished.
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
	case d.done: // the answer may have come at the same moment
		return d.stream, d.err
	case sent && !d.answered && len(b.abandoned) < maxOffers:
		b.abandoned[id]++
	}
	return nil, err
}

// acknowledged handles the answer to a knock of this side. If the other side has accepted, it
// takes the next stream for the one that it expects. So acknowledged opens that stream here,
// where answers come one after another. It does so even if the dial has been given up, and
// then closes the stream: otherwise another stream would be taken for it.
func (b *Broker) acknowledged(id uint32, refused string) {
	if b.cfg.Streams == nil {
		return
	}
	b.mu.Lock()
	d := b.dials[id]
	switch {
	case d != nil && !d.answered: // the answer may be to an earlier knock: go-plugin keeps only one
		d.answered = true
	case b.abandoned[id] > 0:
		d = nil
		if b.abandoned[id]--; b.abandoned[id] == 0 {
			delete(b.abandoned, id)
		}
	default: // there was no knock
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
