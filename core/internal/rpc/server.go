package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (p *Peer) newServer(cfg Config) *grpc.Server {
	g := &guard{gate: &p.gate, isControl: cfg.IsControl, onPanic: cfg.OnPanic}
	server := grpc.NewServer(
		grpc.Creds(cfg.Credentials),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.MaxRecvMsgSize(cfg.MaxMessageSize),
		grpc.MaxSendMsgSize(cfg.MaxMessageSize),
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{g.unary}, cfg.unaryServer()...)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{g.stream}, cfg.streamServer()...)...),
	)
	cfg.Register(server)
	return server
}

// guard is around every handler: it keeps a panic from ending the process, and
// counts the application's calls so that they can drain.
type guard struct {
	gate      *gate
	isControl func(fullMethod string) bool
	onPanic   func(ctx context.Context, method string, value any, stack []byte)
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if !g.isControl(info.FullMethod) {
		if !g.gate.enter() {
			return nil, errDraining
		}
		defer g.gate.leave()
	}
	defer g.recover(ctx, info.FullMethod, &err)
	return handler(ctx, req)
}

func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	if !g.isControl(info.FullMethod) {
		if !g.gate.enter() {
			return errDraining
		}
		defer g.gate.leave()
	}
	defer g.recover(ss.Context(), info.FullMethod, &err)
	return handler(srv, ss)
}

var errDraining = status.Error(codes.Unavailable, "the plugin is shutting down and takes no new calls")

func (g *guard) recover(ctx context.Context, method string, err *error) {
	value := recover()
	if value == nil {
		return
	}
	g.onPanic(ctx, method, value, debug.Stack())
	*err = status.Error(codes.Internal, fmt.Sprintf("panic in the handler of %s: %v", method, value))
}

// gate counts calls in flight and can be shut.
type gate struct {
	mu    sync.Mutex // guards the fields below
	calls int
	shut  bool
	empty chan struct{} // made by close, closed when calls reaches 0
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.calls++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	if g.shut && g.calls == 0 {
		close(g.empty)
	}
}

// close shuts the gate and returns a channel that is closed when the last call
// has left.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		g.empty = make(chan struct{})
		if g.calls == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

func (g *gate) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
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

// Stop ends the server: answers that are written get out, whatever still runs
// is cut off after flushTimeout. Never call it from a handler.
func (p *Peer) Stop() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.server.GracefulStop()
	}()
	timer := time.NewTimer(flushTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		p.server.Stop()
		<-done
	}
}
