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

// room bounds the messages that a side holds until they are read: those of all connections of
// a server, and the answers that one connection brings.
type room struct {
	side    string       // this side, for errors
	limit   int64        // of each of the following
	held    atomic.Int64 // bytes of large messages
	windows atomic.Int64 // bytes that calls may have on their way beyond firstWindow
	fields  atomic.Int64 // bytes of metadata
}

// uncounted is the size up to which a message is not counted: it fits into the window of
// its call.
const uncounted = 128 << 10

// held is how many bytes of that many count.
func held(size int) int {
	if size <= uncounted {
		return 0
	}
	return size
}

// take reports whether there is room for that many bytes, and takes it.
func (r *room) take(size int) bool {
	size = held(size)
	return size == 0 || within(&r.held, int64(size), r.limit)
}

// give gives back bytes that were held.
func (r *room) give(size int) { r.held.Add(-int64(size)) }

// widen reports whether there is room for the whole window of a call, and takes it.
func (r *room) widen() bool { return within(&r.windows, wider, r.limit) }

// within adds n to a sum, unless that is more than the limit then.
func within(sum *atomic.Int64, n, limit int64) bool {
	if sum.Add(n) <= limit {
		return true
	}
	sum.Add(-n)
	return false
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

// handlers counts handlers that run. Unlike a sync.WaitGroup, it may grow while a goroutine
// waits.
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
	s.room.side, s.room.limit = cfg.Side, int64(s.limits.Buffered)
	s.maxStreams = 2*min(s.limits.Calls, 1<<30) + calls.MaxControl
	s.stats = calls.ApplicationStats(cfg.Stats, cfg.IsControl)
	s.watched = len(s.stats) > 0
	err := cfg.Application(&calls.Guard{
		Server: &s.table, Gate: &s.gate, Side: cfg.Side, Other: cfg.Other,
		Unary: calls.ChainUnary(cfg.Unary), Stream: calls.ChainStream(cfg.Stream),
		OnPanic: cfg.OnPanic,
		End: func(ctx context.Context, err error) {
			if t, ok := ctx.Value(keys().stream).(transportStream); ok {
				t.c.handling.finish(err, nil, false)
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

// isMethod reports whether a name is /SERVICE/METHOD.
func isMethod(name string) bool {
	return strings.HasPrefix(name, "/") && strings.Contains(name[1:], "/")
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
	if !c.Broken() { // one that is lost has been removed, or is after this
		s.conns[c] = struct{}{}
	}
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
	last := make(map[*conn]uint32)
	for _, c := range conns {
		last[c] = c.sayNoMore()
	}
	select {
	case <-s.handlers.wait(): // of calls that came in the last moment, which the gate refuses
	case <-ctx.Done():
		return false
	}
	for _, c := range conns {
		c.w.mu.Lock()
		c.w.add(frameGoodbye, 0, appendUvarint(nil, uint64(last[c])))
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
	c.w.mu.Lock()
	c.w.add(frameHello, 0, nil)
	c.w.later()
	return c, nil
}
