package rpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
)

func (p *Peer) newServer(cfg Config) *grpc.Server {
	server := grpc.NewServer(
		grpc.Creds(cfg.Credentials),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.MaxRecvMsgSize(cfg.MaxMessageSize),
		grpc.MaxSendMsgSize(cfg.MaxMessageSize),
	)
	cfg.RegisterApplication(&guard{
		server:  server,
		gate:    &p.gate,
		unary:   chainUnary(cfg.UnaryServer),
		stream:  chainStream(cfg.StreamServer),
		onPanic: cfg.OnPanic,
	})
	cfg.RegisterControl(server)
	return server
}

// flushTimeout bounds how long Stop waits for the last answers to be written. A
// health watch or a reflection stream never ends by itself, so this is waited
// out whenever one is open.
const flushTimeout = 100 * time.Millisecond

// Drain refuses new application calls and waits until those in flight have
// ended. It returns an error that says how many were left when ctx ended first.
// The framework's own services go on until Stop.
func (p *Peer) Drain(ctx context.Context) error {
	select {
	case <-p.gate.close():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d calls were still in flight: %w", p.gate.inFlight(), context.Cause(ctx))
	}
}

// Stop ends the server: answers that are written get out, and whatever still
// runs after flushTimeout is cut off. An error says how many handlers were still
// running after patience all the same: those that do not heed their context.
// Never call it from a handler.
func (p *Peer) Stop(patience time.Duration) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.server.GracefulStop()
	}()
	if closesWithin(done, flushTimeout) {
		return nil
	}
	p.server.Stop()
	if closesWithin(done, patience) {
		return nil
	}
	return fmt.Errorf("%d calls were cut off and go on all the same: their handlers do not heed the context", p.gate.inFlight())
}

func closesWithin(ch <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
		return false
	}
}
