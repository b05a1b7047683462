package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// minPingInterval is how often the other side may ping without a call in
// between. The connection ends after the third ping that comes sooner. grpc's
// default is 5 minutes, which protects servers on the Internet. But hosts in
// other languages ping as often as they are configured to, pyvider-rpcplugin every 30
// seconds: an idle host lost its connection after 90, with its calls in flight.
// On one machine an answer costs next to nothing, and this interval still ends a flood.
const minPingInterval = 50 * time.Millisecond

// Server serves calls. It implements [calls.Server].
type Server struct {
	server  *grpc.Server
	idle    idleConns
	gate    calls.Gate
	answers *calls.Gate // of calls whose answer is not sent; nil without DrainAnswers
	unlog   func()      // stops grpc's errors going to the logger of this Server

	stopOnce sync.Once
	stopping chan struct{} // closed by Stop
}

var _ calls.Server = (*Server)(nil)

// NewServer makes a Server. Serve and Close it. An error is that of
// [calls.ServerConfig.Application].
func NewServer(cfg calls.ServerConfig) (*Server, error) { return newServer(cfg, connectTimeout) }

// newServer is NewServer. timeout bounds how long a stream may take to begin HTTP/2.
func newServer(cfg calls.ServerConfig, timeout time.Duration) (*Server, error) {
	s := &Server{unlog: reports.to(cfg.Logger), stopping: make(chan struct{})}
	limits := cfg.Limits.WithDefaults(cfg.MaxMessageSize)
	s.gate.Limit = limits.Calls
	hold := &metadataHold{limit: int64(limits.Metadata())}
	room := newRoom(cfg, limits)
	opts := []grpc.ServerOption{
		grpc.Creds(serverCredentials{room}),
		grpc.ConnectionTimeout(timeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.StaticStreamWindowSize(callWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.MaxHeaderListSize(calls.MaxMetadata),
		grpc.MaxConcurrentStreams(maxStreams(limits)),
		grpc.InTapHandle(hold.tap),
		grpc.MaxRecvMsgSize(cfg.MaxMessageSize),
		grpc.MaxSendMsgSize(cfg.MaxMessageSize),
	}
	if cfg.DrainAnswers {
		s.answers = new(calls.Gate)
		opts = append(opts, grpc.StatsHandler(answerGate{s.answers}))
	}
	for _, h := range calls.ApplicationStats(cfg.Stats, cfg.IsControl) {
		opts = append(opts, grpc.StatsHandler(h))
	}
	bounds := &bounds{answers: s.answers, side: cfg.Side, other: cfg.Other, limits: limits, room: room}
	guard := &calls.Guard{
		Server:  bounds,
		Gate:    &s.gate,
		Side:    cfg.Side,
		Other:   cfg.Other,
		Unary:   calls.ChainUnary(cfg.Unary),
		Stream:  calls.ChainStream(cfg.Stream),
		OnPanic: cfg.OnPanic,
		End:     endCall,
	}
	if cfg.RequiresServer {
		isControl := cfg.IsControl
		if cfg.Control == nil {
			isControl = func(string) bool { return false } // nothing else serves them
		}
		bounds.services = newServerServices(bounds, guard, isControl)
		opts = append(opts, bounds.services.options()...)
	}
	bounds.opts = append(opts, inflateWith(cfg.Side, room)...)
	err := cfg.Application(guard)
	s.server = bounds.made()
	if err != nil {
		s.Close()
		return nil, err
	}
	if cfg.Control != nil {
		cfg.Control(calls.NewControl(s.server, cfg.Side, s.stopping))
	}
	return s, nil
}

// maxStreams returns how many streams a connection may have: the hard bound on what
// a peer can open before handlers refuse its calls. It is twice the limit on calls,
// because grpc's clients do not fail a call above it. They wait, and nested calls
// that wait for each other never end. A well-behaved client never meets the bound,
// because calls above the limit are refused at once.
func maxStreams(l calls.Limits) uint32 {
	return uint32(min(2*min(int64(l.Calls), 1<<30)+calls.MaxControl, 1<<31-1)) //nolint:gosec // bounded
}

// Serve serves calls on what ln accepts, each a *session.Stream, until ln ends. It
// returns nil after Close or Stop. It closes ln.
func (s *Server) Serve(ln net.Listener) error {
	err := s.server.Serve(&servedListener{ln, s})
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Drain implements [calls.Server].
func (s *Server) Drain(ctx context.Context) error {
	gates := []*calls.Gate{&s.gate}
	if s.answers != nil {
		gates = append(gates, s.answers)
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

// Stop implements [calls.Server]. It closes a connection on which no call has come at
// once.
func (s *Server) Stop(ctx context.Context, patience time.Duration) error {
	s.stopOnce.Do(func() { close(s.stopping) })
	s.idle.end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.server.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	cut := s.inFlight()
	go s.server.Stop() // ends no later than GracefulStop, which is waited for below
	select {
	case <-done:
	case <-time.After(patience):
		return fmt.Errorf("calls were cut off and go on all the same (%d): their handlers do not heed the context", s.inFlight())
	}
	if cut > 0 {
		return nil // Drain has said so
	}
	return errors.New("the other side did not read its last answers before the stop had to end")
}

// inFlight returns how many calls have not ended, or have an answer that is not sent.
func (s *Server) inFlight() int {
	if s.answers != nil {
		return s.answers.InFlight()
	}
	return s.gate.InFlight()
}

// Close implements [calls.Server].
func (s *Server) Close() {
	s.idle.end() // first, because grpc waits for connections that do not begin HTTP/2
	s.server.Stop()
	s.unlog()
}
