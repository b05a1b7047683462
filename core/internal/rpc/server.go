package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// minPingInterval is how often the other side may ping without a call in
// between; after the third ping that comes sooner the connection ends. grpc's
// default is 5 minutes, which protects servers on the Internet. But hosts in
// other languages ping as often as they are told to, pyvider-rpcplugin every 30
// seconds: an idle host lost its connection after 90, with its calls in flight.
// On one machine an answer costs next to nothing, and still a flood ends.
const minPingInterval = 50 * time.Millisecond

func (p *Peer) newServer(cfg Config) *grpc.Server {
	timeout := connectTimeout
	if cfg.Patient {
		timeout = maxConnectTimeout
	}
	limits := cfg.Limits.WithDefaults(cfg.MaxMessageSize)
	p.gate.limit = limits.Calls
	hold := &metadataHold{limit: int64(limits.metadata())}
	room := &room{
		limit:   int64(limits.Buffered),
		largest: uint32(min(int64(cfg.MaxMessageSize), 1<<32-1)), //nolint:gosec // bounded
		refused: func() {},
	}
	if cfg.Logger != nil {
		var lines limiter
		room.refused = func() {
			lines.warn(cfg.Logger, "a message was refused: there is no room for it beside those that are on their way", "from", cfg.Other, "limit", limits.Buffered, "option", cfg.Side+".WithMaxBuffered")
		}
	}
	opts := []grpc.ServerOption{
		grpc.Creds(&boundedCredentials{TransportCredentials: serverCredentials{cfg.ServerCredentials}, room: room}),
		grpc.ConnectionTimeout(timeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.StaticStreamWindowSize(callWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.MaxHeaderListSize(maxMetadata),
		grpc.MaxConcurrentStreams(limits.streams()),
		grpc.InTapHandle(hold.tap),
		grpc.MaxRecvMsgSize(cfg.MaxMessageSize),
		grpc.MaxSendMsgSize(cfg.MaxMessageSize),
	}
	if cfg.DrainAnswers {
		opts = append(opts, grpc.StatsHandler(answered{&p.gate}))
	}
	server := grpc.NewServer(append(opts, inflateWith(cfg.Side, room)...)...)
	cfg.RegisterApplication(&guard{
		server:  server,
		gate:    &p.gate,
		keeps:   cfg.DrainAnswers,
		side:    cfg.Side,
		other:   cfg.Other,
		limits:  limits,
		room:    room,
		unary:   chainUnary(cfg.UnaryServer),
		stream:  chainStream(cfg.StreamServer),
		onPanic: cfg.OnPanic,
	})
	if cfg.RegisterControl != nil {
		cfg.RegisterControl(&control{Server: server, side: cfg.Side, stopping: p.stopping, gate: gate{limit: maxControl}})
	}
	return server
}

// Drain refuses new application calls and waits until those in flight have
// ended. It returns an error that says how many were left when ctx ended first.
// The framework's own services go on until Stop.
func (p *Peer) Drain(ctx context.Context) error {
	select {
	case <-p.gate.close():
		return nil
	case <-ctx.Done():
	}
	if calls := p.gate.inFlight(); calls > 0 {
		return fmt.Errorf("%d calls were still in flight: %w", calls, context.Cause(ctx))
	}
	return nil
}

// Stop ends the server. Until ctx ends, answers that handlers have given get
// out, at whatever pace the other side reads; then what is left is cut off. The
// framework's own streams end at once, and are not waited for; a connection on
// which no call has come is closed at once. An error says what was cut off, and how many handlers went on all the same for longer than
// patience: those that do not heed their context. Never call it from a handler.
func (p *Peer) Stop(ctx context.Context, patience time.Duration) error {
	p.stopOnce.Do(func() { close(p.stopping) })
	p.idle.end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.server.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	calls := p.gate.inFlight()
	go p.server.Stop() // ends no later than GracefulStop, which is waited for below
	select {
	case <-done:
	case <-time.After(patience):
		return fmt.Errorf("calls were cut off and go on all the same (%d): their handlers do not heed the context", p.gate.inFlight())
	}
	if calls > 0 {
		return nil // Drain has said so
	}
	return errors.New("the other side did not read its last answers in time")
}
