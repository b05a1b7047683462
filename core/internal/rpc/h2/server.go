package h2

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
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
	p.gate.Limit = limits.Calls
	hold := &metadataHold{limit: int64(limits.Metadata())}
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
		grpc.MaxHeaderListSize(calls.MaxMetadata),
		grpc.MaxConcurrentStreams(limits.Streams()),
		grpc.InTapHandle(hold.tap),
		grpc.MaxRecvMsgSize(cfg.MaxMessageSize),
		grpc.MaxSendMsgSize(cfg.MaxMessageSize),
	}
	if cfg.DrainAnswers {
		p.answers = new(calls.Gate)
		opts = append(opts, grpc.StatsHandler(answered{p.answers}))
	}
	server := grpc.NewServer(append(opts, inflateWith(cfg.Side, room)...)...)
	cfg.RegisterApplication(&calls.Guard{
		Server:  &bounds{server: server, answers: p.answers, side: cfg.Side, other: cfg.Other, limits: limits, room: room},
		Gate:    &p.gate,
		Side:    cfg.Side,
		Other:   cfg.Other,
		Unary:   calls.ChainUnary(cfg.UnaryServer),
		Stream:  calls.ChainStream(cfg.StreamServer),
		OnPanic: cfg.OnPanic,
		End:     endCall,
	})
	if cfg.RegisterControl != nil {
		cfg.RegisterControl(calls.NewControl(server, cfg.Side, p.stopping))
	}
	return server
}

// Drain refuses new application calls and waits until those in flight have
// ended. It returns an error that says how many were left when ctx ended first.
// The framework's own services go on until Stop.
func (p *Peer) Drain(ctx context.Context) error {
	gates := []*calls.Gate{&p.gate}
	if p.answers != nil {
		gates = append(gates, p.answers)
	}
	for _, gate := range gates {
		select {
		case <-gate.Close():
			continue
		case <-ctx.Done():
		}
		if n := gate.InFlight(); n > 0 {
			return fmt.Errorf("%d calls were still in flight: %w", n, context.Cause(ctx))
		}
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
	cut := p.inFlight()
	go p.server.Stop() // ends no later than GracefulStop, which is waited for below
	select {
	case <-done:
	case <-time.After(patience):
		return fmt.Errorf("calls were cut off and go on all the same (%d): their handlers do not heed the context", p.inFlight())
	}
	if cut > 0 {
		return nil // Drain has said so
	}
	return errors.New("the other side did not read its last answers in time")
}

// inFlight returns how many calls have not ended, or have an answer that is not on its
// way.
func (p *Peer) inFlight() int {
	if p.answers != nil {
		return p.answers.InFlight()
	}
	return p.gate.InFlight()
}
