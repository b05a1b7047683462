package brokered

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/goplugin"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// Conn is a connection to what the other side serves under one id. Its methods are
// safe for concurrent use.
type Conn struct {
	peer  *rpc.Peer
	close func()
	done  chan struct{} // closed when that is complete
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// Invoke implements [grpc.ClientConnInterface].
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.peer.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.peer.NewStream(ctx, desc, method, opts...)
}

// Close ends the connection and the calls on it.
func (c *Conn) Close() error {
	c.close()
	<-c.done
	return nil
}

// Dial connects to what the other side serves under an id. The context bounds only
// that.
func (b *Broker) Dial(ctx context.Context, id uint32) (*Conn, error) {
	conn, err := b.dial(ctx, id)
	if reason := context.Cause(b.ctx); err != nil && reason != nil {
		err = reason
	}
	if err != nil {
		return nil, fmt.Errorf("broker: dial id %d: %w", id, err)
	}
	return conn, nil
}

func (b *Broker) dial(ctx context.Context, id uint32) (*Conn, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	open := b.dialAddress
	if b.cfg.Streams != nil {
		open = b.dialStream
	}
	stream, info, err := open(ctx, id)
	if err != nil {
		return nil, err
	}
	peer, err := rpc.New(rpc.Config{
		Side:              b.cfg.Side,
		Other:             b.cfg.Other,
		MaxMessageSize:    b.cfg.MaxMessageSize,
		Conn:              stream,
		ClientCredentials: secure.Known(info),
		IsControl:         control.IsControl,
	})
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	if err := peer.Connect(ctx); err != nil {
		peer.Close()
		return nil, err
	}
	return b.watched(peer, id)
}

// watched returns a connection whose calls end with it, or with the broker.
func (b *Broker) watched(peer *rpc.Peer, id uint32) (*Conn, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	c := &Conn{peer: peer, close: cancel, done: make(chan struct{})}
	started := b.run(func() {
		defer close(c.done)
		select {
		case <-peer.Lost():
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

// dialAddress waits for the address that the other side announces, and dials it.
func (b *Broker) dialAddress(ctx context.Context, id uint32) (net.Conn, secure.Info, error) {
	var offer goplugin.ConnInfo
	err := b.await(ctx, fmt.Sprintf("the %s has not accepted it", b.cfg.Other), func() (ok bool) {
		offer, ok = b.offers[id]
		return ok
	})
	if err != nil {
		return nil, secure.Info{}, err
	}
	return b.cfg.Dial(ctx, offer.Network, offer.Address)
}

// dialStream knocks, waits for the acknowledgement, and opens the stream that the
// other side then expects.
func (b *Broker) dialStream(ctx context.Context, id uint32) (net.Conn, secure.Info, error) {
	select {
	case b.dialing <- struct{}{}:
		defer func() { <-b.dialing }()
	case <-ctx.Done():
		return nil, secure.Info{}, fmt.Errorf("another is being dialed: %w", context.Cause(ctx))
	}
	if err := b.knock(ctx, id); err != nil {
		return nil, secure.Info{}, err
	}
	return b.cfg.Streams.OpenStream(ctx)
}

func (b *Broker) knock(ctx context.Context, id uint32) error {
	ack := make(chan string, 1)
	b.mu.Lock()
	b.acks[id] = ack
	b.mu.Unlock()
	sent := false
	err := b.say(ctx, &goplugin.ConnInfo{ServiceID: id, Knock: &goplugin.Knock{Knock: true}})
	if err == nil {
		sent = true
		err = b.await(ctx, fmt.Sprintf("the %s has not accepted it", b.cfg.Other), func() bool { return len(ack) > 0 })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.acks, id)
	select {
	case refused := <-ack: // it may have come at the same moment
		if refused != "" {
			return fmt.Errorf("the %s refuses: %.256q", b.cfg.Other, refused)
		}
		return nil
	default:
	}
	if sent && len(b.abandoned) < maxOffers {
		b.abandoned[id]++
	}
	return err
}

// acknowledged takes in the answer to a knock of this side. One that nobody waits
// for any more still makes the other side expect a stream, which the next one to
// be dialed must not become: it gets one, and that is closed.
func (b *Broker) acknowledged(id uint32, refused string) {
	b.mu.Lock()
	ack, waiting := b.acks[id]
	late := false
	switch {
	case waiting && len(ack) == 0: // also to an earlier knock: go-plugin keeps one of several
		ack <- refused
		b.change()
	case b.abandoned[id] > 0:
		late = true
		if b.abandoned[id]--; b.abandoned[id] == 0 {
			delete(b.abandoned, id)
		}
	}
	b.mu.Unlock()
	if !late || refused != "" || b.cfg.Streams == nil {
		return
	}
	ctx, cancel := b.bound(context.Background())
	defer cancel()
	if conn, _, err := b.cfg.Streams.OpenStream(ctx); err == nil {
		_ = conn.Close() // nothing was said on it
	}
}
