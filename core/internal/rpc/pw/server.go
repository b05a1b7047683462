package pw

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// room bounds the large messages of all connections of a server that handlers do not have
// yet.
type room struct {
	held  atomic.Int64
	limit int64
}

// uncounted is the size up to which a message is not counted: it fits into the window of
// its call.
const uncounted = 128 << 10

var errNoRoom = errors.New("there is no room for the message")

// take reports whether there is room for that many bytes, and takes it.
func (r *room) take(size int) bool {
	if size <= uncounted {
		return true
	}
	if r.held.Add(int64(size)) <= r.limit {
		return true
	}
	r.held.Add(-int64(size))
	return false
}

func (r *room) give(size int) {
	if size > uncounted {
		r.held.Add(-int64(size))
	}
}

// server serves calls. It implements [calls.Server].
type server struct {
	cfg        calls.ServerConfig
	limits     calls.Limits
	table      calls.Table
	gate       calls.Gate
	room       room
	stats      []stats.Handler
	watched    bool // there are stats handlers
	maxStreams int
	stopping   chan struct{}
	stopOnce   sync.Once
	handlers   handlers

	mu    sync.Mutex // guards the fields below
	conns map[*conn]struct{}
	over  bool
}

// handlers counts handlers that run. It is a sync.WaitGroup to which one may add while
// somebody waits.
type handlers struct {
	mu    sync.Mutex // guards the fields below
	n     int
	empty chan struct{} // made by wait
}

func (h *handlers) Add(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n += n
}

func (h *handlers) Done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n--
	if h.n == 0 && h.empty != nil {
		close(h.empty)
		h.empty = nil
	}
}

// wait returns a channel that is closed when no handler runs.
func (h *handlers) wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if h.empty == nil {
		h.empty = make(chan struct{})
	}
	return h.empty
}

func newServer(cfg calls.ServerConfig) (*server, error) {
	s := &server{cfg: cfg, stopping: make(chan struct{}), conns: make(map[*conn]struct{})}
	s.limits = cfg.Limits.WithDefaults(cfg.MaxMessageSize)
	s.gate.Limit = s.limits.Calls
	s.room.limit = int64(s.limits.Buffered)
	s.maxStreams = 2*min(s.limits.Calls, 1<<30) + calls.MaxControl
	s.stats = calls.ApplicationStats(cfg.Stats, cfg.IsControl)
	s.watched = len(s.stats) > 0
	err := cfg.Application(&calls.Guard{
		Server: &s.table, Gate: &s.gate, Side: cfg.Side, Other: cfg.Other,
		Unary: calls.ChainUnary(cfg.Unary), Stream: calls.ChainStream(cfg.Stream),
		OnPanic: cfg.OnPanic,
		End: func(ctx context.Context, err error) {
			if t, ok := ctx.Value(keys().stream).(transportStream); ok {
				t.h.end(err, nil)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if cfg.Control != nil {
		cfg.Control(calls.NewControl(&s.table, cfg.Side, s.stopping))
	}
	return s, nil
}

// unknownMethod returns the error for a method that this side does not have, as gRPC has it.
func unknownMethod(s *server, name string) error {
	service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if i := strings.LastIndex(strings.TrimPrefix(name, "/"), "/"); ok && i >= 0 {
		service, method = strings.TrimPrefix(name, "/")[:i], strings.TrimPrefix(name, "/")[i+1:]
	}
	if !ok || name[0] != '/' {
		return status.Errorf(codes.Unimplemented, "malformed method name: %q", name)
	}
	if _, known := s.table.GetServiceInfo()[service]; known {
		return status.Errorf(codes.Unimplemented, "unknown method %v for service %v", method, service)
	}
	return status.Errorf(codes.Unimplemented, "unknown service %v", service)
}

// add takes a connection, and reports whether it is wanted.
func (s *server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *server) all() (conns []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Drain implements [calls.Server].
func (s *server) Drain(ctx context.Context) error {
	select {
	case <-s.gate.Close():
		return nil
	case <-ctx.Done():
	}
	if n := s.gate.InFlight(); n > 0 {
		return fmt.Errorf("%d calls were still in flight: %w", n, context.Cause(ctx))
	}
	return nil
}

// Stop implements [calls.Server].
func (s *server) Stop(ctx context.Context, patience time.Duration) error {
	s.stopOnce.Do(func() { close(s.stopping) })
	done := s.handlers.wait()
	said := true
	select {
	case <-done:
		said = s.sayGoodbye(ctx)
	case <-ctx.Done():
	}
	cut := s.gate.InFlight()
	s.closeAll()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.handlers.wait():
	case <-timer.C:
		return fmt.Errorf("calls were cut off and go on all the same (%d): their handlers do not heed the context", s.gate.InFlight())
	}
	if !said && cut == 0 {
		return errors.New("the other side did not read its last answers before the stop had to end")
	}
	return nil
}

// sayGoodbye waits until the other sides have read their answers, or ctx ends.
func (s *server) sayGoodbye(ctx context.Context) bool {
	conns := s.all()
	for _, c := range conns {
		c.w.mu.Lock()
		c.w.add(frameGoodbye, 0, nil)
		c.w.later()
	}
	for _, c := range conns {
		select {
		case <-c.lost:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (s *server) closeAll() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	for _, c := range s.all() {
		c.lose(errLost)
	}
}

// Close implements [calls.Server].
func (s *server) Close() {
	s.stopOnce.Do(func() { close(s.stopping) })
	s.closeAll()
}

// acceptor is a [calls.Acceptor].
type acceptor struct {
	*server
	client calls.ClientConfig
}

// maxConns is how many connections a server has at a time: a host has one, and a person who
// debugs has a few.
const maxConns = 64

// Accept implements [calls.Acceptor].
func (a *acceptor) Accept(_ context.Context, stream *session.Stream) (calls.Client, error) {
	if len(a.all()) >= maxConns {
		return nil, errors.Join(fmt.Errorf("%d connections are open, which is the limit", maxConns), stream.Close())
	}
	c := newConn(stream, a.client, a.server, 2)
	if !a.add(c) {
		c.Close()
		return nil, errLost
	}
	return c, nil
}
