package broker

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/plugwire/plugwire/core/broker"
)

var _ broker.Connector = (*Broker)(nil)

// Listen implements [broker.Connector].
func (b *Broker) Listen(ctx context.Context, id uint32) (net.Listener, error) {
	ln, end, err := b.accept(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("broker: listen on id %d: %w", id, err)
	}
	l := &brokeredListener{Listener: ln, closed: make(chan struct{})}
	l.end = sync.OnceFunc(func() {
		close(l.closed)
		end()
	})
	// The broker's end ends the listener too.
	if !b.run(func() {
		select {
		case <-b.ctx.Done():
			l.end()
		case <-l.closed:
		}
	}) {
		l.end()
		return nil, fmt.Errorf("broker: listen on id %d: %w", id, context.Cause(b.ctx))
	}
	return l, nil
}

// brokeredListener is the listener of one id.
type brokeredListener struct {
	net.Listener
	end    func()
	closed chan struct{} // closed by end
}

// Close implements [net.Listener].
func (l *brokeredListener) Close() error {
	l.end()
	return nil
}

// Connect implements [broker.Connector].
func (b *Broker) Connect(ctx context.Context, id uint32) (net.Conn, error) {
	conn, err := b.connect(ctx, id)
	if reason := context.Cause(b.ctx); err != nil && reason != nil {
		err = reason
	}
	if err != nil {
		return nil, fmt.Errorf("broker: connect to id %d: %w", id, err)
	}
	return conn, nil
}

func (b *Broker) connect(ctx context.Context, id uint32) (net.Conn, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	link, err := b.open(ctx, id)
	if err != nil {
		return nil, err
	}
	return link.Stream.Conn, nil
}
