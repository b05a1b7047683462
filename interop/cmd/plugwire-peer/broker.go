package main

import (
	"context"
	"errors"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/interop/peer/service"
)

// echo is the service that is served through the broker.
var echo = protocol.New("echo", 1, &service.EchoDesc)

// serve serves e under the id until stop is called. stop returns when the
// server and its socket are gone.
func serve(b broker.Broker, id uint32, e service.Echoer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Serve(ctx, id, protocol.Bind(echo, e)) // the dialing side gets the error
	}()
	return func() {
		cancel()
		<-done
	}
}

// NextID implements [peer.Broker].
func (p *runningPlugin) NextID() uint32 { return p.Broker().NextID() }

// Serve implements [peer.Broker].
func (p *runningPlugin) Serve(_ context.Context, id uint32, e service.Echoer) (stop func(), err error) {
	return serve(p.Broker(), id, e), nil
}

// Dial implements [peer.Broker].
func (p *runningPlugin) Dial(ctx context.Context, id uint32) (service.Conn, func() error, error) {
	conn, err := p.Broker().Dial(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}

// CallHost implements [service.Handler].
func (*handler) CallHost(ctx context.Context, id uint32) (string, error) {
	conn, err := plugin.Broker(ctx).Dial(ctx, id)
	if err != nil {
		return "", err
	}
	answer, err := service.Ask(ctx, conn)
	return answer, errors.Join(err, conn.Close())
}

// ServeBack implements [service.Handler].
func (h *handler) ServeBack(ctx context.Context) (uint32, error) {
	b := plugin.Broker(ctx)
	id := b.NextID()
	h.Add(id, serve(b, id, service.FromPlugin))
	return id, nil
}
