package multiplex

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

var errNoConnection = errors.New("there is no multiplexed connection to the other side")

// PluginEnd is a plugin's end. As a [net.Listener] it yields the streams for calls, each an
// authenticated *session.Stream. Its methods are safe for concurrent use. End it.
type PluginEnd struct {
	ln        net.Listener
	creds     *secure.Credentials // authenticate a stream
	logger    *slog.Logger        // nil for none
	announced announcements

	calls  chan *session.Stream
	failed chan struct{} // closed when accepting has ended by itself; err is set then
	err    error

	ctx    context.Context //nolint:containedctx // the listener's own life, not a caller's
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex            // guards the fields below
	pending  map[net.Conn]struct{} // streams that are not admitted yet
	carriers map[*mux.Session]*atomic.Bool
	current  *mux.Session // the carrier on which a host has authenticated last
	ended    bool         // by End
}

var _ net.Listener = (*PluginEnd)(nil)

// NewPluginEnd accepts connections from ln, which it owns. creds authenticate each stream.
// logger, if not nil, gets a warning when no connection can be accepted.
func NewPluginEnd(ln net.Listener, creds *secure.Credentials, logger *slog.Logger) *PluginEnd {
	p := &PluginEnd{
		ln:       ln,
		creds:    creds,
		logger:   logger,
		calls:    make(chan *session.Stream),
		failed:   make(chan struct{}),
		pending:  make(map[net.Conn]struct{}),
		carriers: make(map[*mux.Session]*atomic.Bool),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tasks.Go(func() {
		err := session.AcceptEach(p.ctx, ln, logger, func(conn net.Conn) {
			p.tasks.Go(func() { p.carry(conn) })
		})
		if err != nil {
			p.err = err
			close(p.failed)
		}
	})
	return p
}

// Accept implements [net.Listener]. It returns a *session.Stream.
func (p *PluginEnd) Accept() (net.Conn, error) {
	select {
	case s := <-p.calls:
		return s, nil
	case <-p.failed:
		return nil, p.err
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements [net.Listener].
func (p *PluginEnd) Addr() net.Addr { return p.ln.Addr() }

// Close implements [net.Listener]. No connection and no stream is accepted any more, and
// streams that are not admitted yet are closed. Admitted streams go on.
func (p *PluginEnd) Close() error {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.cancel()
	for conn := range p.pending {
		_ = conn.Close() // the goroutine that admits it closes it too
	}
	p.mu.Unlock()
	return p.ln.Close()
}

// End closes the listener and all connections, and waits for the goroutines.
func (p *PluginEnd) End() {
	_ = p.Close() // it may be closed already; the host removes what is left of a socket
	p.mu.Lock()
	p.ended = true
	for m := range p.carriers {
		_ = m.End() // nothing is left to say on it
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

// carry admits the streams of one connection until it ends.
func (p *PluginEnd) carry(conn net.Conn) {
	known := new(atomic.Bool)
	m, err := mux.Server(conn, (&peerPolicy{known: known}).judge)
	if err != nil {
		_ = conn.Close()
		return
	}
	defer m.Close() //nolint:errcheck // the peer, or End, has ended it
	if !p.add(m, known) {
		return
	}
	timer := time.AfterFunc(session.AdmitTimeout, func() { p.endStranger(m) })
	defer timer.Stop()
	slots := make(chan struct{}, session.MaxPending)
	err = session.AcceptEach(p.ctx, m, p.logger, func(conn net.Conn) {
		slots <- struct{}{} // blocks until a stream is admitted, or refused and closed by the host
		if !p.begin(conn) {
			<-slots
			_ = conn.Close() // the listener is closed
			return
		}
		var deliver func(*session.Stream)
		if p.isCurrent(m) { // a host announces streams only after it has authenticated
			deliver = p.announced.next() // in the order in which the streams come
		}
		p.tasks.Go(func() { p.admit(conn, m, slots, deliver) })
	})
	if errors.Is(err, mux.ErrFlooded) && p.logger != nil { // all other errors are the end of the connection
		p.logger.Warn("a connection was ended", "error", err)
	}
	p.mu.Lock()
	delete(p.carriers, m)
	if p.current == m {
		p.current = nil
	}
	p.mu.Unlock()
}

// add reports whether a connection may go on. Any process that can connect gets this far,
// so the number of connections that have not authenticated is bounded.
func (p *PluginEnd) add(m *mux.Session, known *atomic.Bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	strangers := 0
	for _, other := range p.carriers {
		if !other.Load() {
			strangers++
		}
	}
	if p.ended || strangers == session.MaxPending {
		return false
	}
	p.carriers[m] = known
	return true
}

// endStranger ends a connection on which no host has authenticated.
func (p *PluginEnd) endStranger(m *mux.Session) {
	p.mu.Lock()
	known := p.carriers[m]
	p.mu.Unlock()
	if known != nil && !known.Load() {
		_ = m.End() // nothing was said on it
	}
}

// begin registers a stream before it is admitted. It reports false after Close.
func (p *PluginEnd) begin(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.pending[conn] = struct{}{}
	return true
}

func (p *PluginEnd) isCurrent(m *mux.Session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current == m
}

// admit authenticates a stream, and gives it to deliver or, if that is nil, to Accept. A
// stream that fails is refused, which its opener notices.
func (p *PluginEnd) admit(conn net.Conn, m *mux.Session, slots <-chan struct{}, deliver func(*session.Stream)) {
	s, err := session.Admit(conn, p.creds)
	p.mu.Lock()
	delete(p.pending, conn)
	if known, lives := p.carriers[m]; err == nil && lives {
		p.current = m
		known.Store(true)
	}
	p.mu.Unlock()
	if err != nil {
		mux.Refuse(conn)
	}
	<-slots
	switch {
	case err != nil:
	case deliver != nil:
		deliver(s)
	default:
		select {
		case p.calls <- s:
		case <-p.ctx.Done():
			_ = s.Close() // the listener is closed
		}
	}
}

// Expect registers deliver for the next stream that the host opens. The stream is
// authenticated first; deliver then owns it. Expect reports false if too many streams are
// expected already.
func (p *PluginEnd) Expect(deliver func(*session.Stream)) bool { return p.announced.add(deliver) }

// OpenStream opens a stream that the host expects.
func (p *PluginEnd) OpenStream(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	m := p.current
	p.mu.Unlock()
	if m == nil {
		return nil, errNoConnection
	}
	return m.Open(ctx)
}

// Authenticate authenticates both sides of a stream of OpenStream. It owns the stream.
func (p *PluginEnd) Authenticate(ctx context.Context, stream net.Conn) (net.Conn, secure.Info, error) {
	return authenticate(ctx, stream, p.creds)
}
