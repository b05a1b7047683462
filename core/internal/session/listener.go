package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// ListenerConfig says what a plugin accepts.
type ListenerConfig struct {
	// Kind is one of the handshake.Session values.
	Kind string
	// Credentials authenticate the two sides.
	Credentials *secure.Credentials
	// Foreign is set for a host that sends no preambles. Its session is direct.
	Foreign bool
	// Logger, if set, gets a warning when no connection can be accepted for a temporary
	// reason. A host that connects meanwhile only waits, and does not learn why.
	Logger *slog.Logger
}

// Listener is a plugin's end. As a net.Listener it yields the streams on which a wire carries
// calls, each a *Stream. No stream blocks another while it is authenticated.
type Listener struct {
	cfg     ListenerConfig
	ln      net.Listener
	meeting *meeting

	calls  chan *Stream
	failed chan struct{} // closed after err is set, when accepting has ended by itself
	err    error

	ctx    context.Context //nolint:containedctx // the listener's own life, not a caller's
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex                // guards the fields below
	pending map[net.Conn]struct{}     // streams that are not yet admitted
	muxes   map[*mux.Session]struct{} // connections of yamux sessions
	closed  bool                      // set by Close: no stream is accepted any more
	ended   bool                      // set by End
}

var _ net.Listener = (*Listener)(nil)

// NewListener accepts streams from ln, which the Listener owns. End it.
func NewListener(ln net.Listener, cfg ListenerConfig) *Listener {
	if cfg.Kind == handshake.SessionNative {
		cfg.Credentials = cfg.Credentials.ByTransport()
	}
	l := &Listener{
		cfg:     cfg,
		ln:      ln,
		meeting: newMeeting(),
		calls:   make(chan *Stream),
		failed:  make(chan struct{}),
		pending: make(map[net.Conn]struct{}),
		muxes:   make(map[*mux.Session]struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	top := admission{creds: cfg.Credentials, preamble: !cfg.Foreign, carrier: cfg.Kind == handshake.SessionYamux}
	l.tasks.Go(func() {
		if err := l.acceptFrom(ln, top); err != nil {
			l.err = err
			close(l.failed)
		}
	})
	return l
}

// Accept implements [net.Listener]. It returns a *Stream.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case s := <-l.calls:
		return s, nil
	case <-l.failed:
		return nil, l.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Close implements [net.Listener]. After Close no stream is accepted. Close closes streams
// that are not admitted yet, and leaves admitted streams open.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	for conn := range l.pending {
		_ = conn.Close() // the goroutine that admits it closes it too
	}
	l.mu.Unlock()
	l.cancel()
	return l.ln.Close()
}

// End closes the listener, connections that streams share, and named streams that have not
// met. It waits for its goroutines.
func (l *Listener) End() {
	_ = l.Close() // it may be closed already; the host removes what is left of a socket
	l.mu.Lock()
	l.ended = true
	for m := range l.muxes {
		_ = m.Close() // nothing is left to say on it
	}
	l.mu.Unlock()
	l.meeting.end() // after the muxes, since it may be writing on them
	l.tasks.Wait()
}

// admission says what a stream has to do before it is admitted.
type admission struct {
	creds    *secure.Credentials
	preamble bool          // the stream begins with a preamble
	carrier  bool          // the stream carries all others, and no other is admitted
	slots    chan struct{} // holds an item for each stream that is being admitted
}

// acceptFrom admits what ln accepts, each in a goroutine of its own, until ln ends.
func (l *Listener) acceptFrom(ln net.Listener, a admission) error {
	a.slots = make(chan struct{}, MaxPending)
	return AcceptEach(l.ctx, ln, l.cfg.Logger, func(conn net.Conn) {
		a.slots <- struct{}{} // blocks until a stream is admitted, or refused and closed by the host
		if !l.begin(conn) {
			<-a.slots
			_ = conn.Close() // the listener is closed
			return
		}
		l.tasks.Go(func() { l.admit(conn, a) })
	})
}

func (l *Listener) begin(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.pending[conn] = struct{}{}
	return true
}

// admit authenticates a stream and dispatches it. A stream that fails is refused, which its
// opener notices.
func (l *Listener) admit(conn net.Conn, a admission) {
	p, s, err := authenticate(conn, a)
	l.mu.Lock()
	delete(l.pending, conn)
	l.mu.Unlock()
	if err != nil {
		mux.Refuse(conn)
	}
	<-a.slots
	if err == nil && l.dispatch(p, s) != nil {
		_ = conn.Close()
	}
}

// authenticate authenticates a stream. A stream that ln has authenticated already passes.
func authenticate(conn net.Conn, a admission) (Preamble, *Stream, error) {
	p := Preamble{Purpose: Calls}
	if s, ok := conn.(*Stream); ok {
		return p, s, nil
	}
	if a.carrier {
		p.Purpose = Carrier
	}
	if err := conn.SetDeadline(time.Now().Add(AdmitTimeout)); err != nil {
		return p, nil, err
	}
	if a.preamble {
		var err error
		if p, err = ReadPreamble(conn); err != nil {
			return p, nil, err
		}
	}
	if err := p.check(a.carrier); err != nil {
		return p, nil, err
	}
	stream, info, err := a.creds.Server(conn)
	if err != nil {
		return p, nil, err
	}
	return p, &Stream{Conn: stream, Info: info, Purpose: p.Purpose, Session: p.Session}, stream.SetDeadline(time.Time{})
}

// check returns an error if a stream may not have this preamble.
func (p Preamble) check(carrier bool) error {
	switch {
	case carrier != (p.Purpose == Carrier):
	case p.Purpose == Offered || p.Purpose == Awaited:
		return nil
	case p.Name == "" && p.Purpose >= Calls && p.Purpose <= Carrier:
		return nil
	}
	return fmt.Errorf("preamble: purpose %d with name %q is not known here", p.Purpose, p.Name)
}

// dispatch passes a stream on by its purpose. With an error the stream is still the caller's.
func (l *Listener) dispatch(p Preamble, s *Stream) error {
	switch p.Purpose {
	case Calls, Callbacks:
		select {
		case l.calls <- s:
			return nil
		case <-l.ctx.Done():
			return net.ErrClosed
		}
	case Carrier:
		return l.carry(s)
	default:
		l.meeting.park(p, s.Conn)
		return nil
	}
}

// carry admits the streams of a yamux session until it ends.
func (l *Listener) carry(s *Stream) error {
	m, err := mux.Server(s.Conn, mux.PluginPolicy)
	if err != nil {
		return err
	}
	if !l.addMux(m) {
		return m.Close()
	}
	err = l.acceptFrom(m, admission{creds: secure.Known(s.Info), preamble: true})
	if errors.Is(err, mux.ErrFlooded) && l.cfg.Logger != nil { // all other errors are the end of the connection
		l.cfg.Logger.Warn("a connection was ended", "error", err)
	}
	l.mu.Lock()
	delete(l.muxes, m)
	l.mu.Unlock()
	return m.Close()
}

// addMux reports false after End.
func (l *Listener) addMux(m *mux.Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.muxes[m] = struct{}{}
	return true
}

// AcceptNamed returns the next stream with that name that the host of a session opens.
// The context and End bound the wait.
func (l *Listener) AcceptNamed(ctx context.Context, session, name string) (net.Conn, error) {
	return l.named(ctx, Preamble{Purpose: Offered, Name: name, Session: session})
}

// OpenNamed opens a stream with that name, and returns when the host of a session has
// accepted it. The context and End bound the wait.
func (l *Listener) OpenNamed(ctx context.Context, session, name string) (net.Conn, error) {
	return l.named(ctx, Preamble{Purpose: Awaited, Name: name, Session: session})
}

func (l *Listener) named(ctx context.Context, p Preamble) (net.Conn, error) {
	if l.cfg.Foreign {
		return nil, errors.New("the host is of another framework, which has no named streams")
	}
	return l.meeting.meet(ctx, p)
}
