package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/mux"
	"github.com/plugwire/plugwire/core/internal/secure"
)

const (
	// maxPending bounds the streams of one address, or of one yamux session,
	// that have been accepted and not yet said who they are and what they are
	// for, with those that [mux.Refuse] holds. More wait for their turn, as a host may
	// open a thousand at once; the bound is for whoever else can reach the address.
	maxPending = 64
	// admitTimeout is how long a stream may take for that. Generous, because
	// both ends are on one machine, which may be starting a hundred plugins.
	admitTimeout = 10 * time.Second
	// maxAcceptDelay bounds the pause after an Accept that failed for a reason
	// which may pass, such as too many open files.
	maxAcceptDelay = time.Second
)

// ListenerConfig says what a plugin accepts.
type ListenerConfig struct {
	// Kind is one of the handshake.Session values.
	Kind string
	// Credentials authenticate the two sides.
	Credentials *secure.Credentials
	// Foreign is set for a host that knows nothing of preambles.
	Foreign bool
	// Logger, if set, is told when nothing can be accepted, for a reason which may
	// pass: who connects then only waits, and does not learn why.
	Logger *slog.Logger
}

// Listener is a plugin's end. As a net.Listener it yields the streams that a wire
// carries calls on, each a *Stream. No stream blocks another while it is authenticated.
type Listener struct {
	cfg     ListenerConfig
	ln      net.Listener
	meeting *meeting

	expected *expected // nil but for go-plugin's multiplexed mode

	calls  chan *Stream
	failed chan struct{} // closed when accepting ended by itself; err is set then
	err    error

	ctx    context.Context //nolint:containedctx // the listener's own life, not a caller's
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu      sync.Mutex                    // guards the fields below
	pending map[net.Conn]struct{}         // not yet admitted
	muxes   map[*mux.Session]*atomic.Bool // set when somebody has authenticated on it; nil if that was before
	current *mux.Session                  // in go-plugin's multiplexed mode, the one that the host has shown to be its own
	closed  bool                          // by Close: nothing more is accepted
	ended   bool                          // by End
}

var _ net.Listener = (*Listener)(nil)

// NewListener accepts streams from ln, which it owns from then on. End it.
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
		muxes:   make(map[*mux.Session]*atomic.Bool),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	top := admission{creds: cfg.Credentials, preamble: !cfg.Foreign, carrier: cfg.Kind == handshake.SessionYamux}
	if cfg.Foreign && top.carrier {
		l.expected = new(expected)
		top.creds = secure.Plaintext() // each stream on it is authenticated by itself
	}
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

// Close implements [net.Listener]: nothing more is accepted, what is not
// admitted yet is dropped, and what is goes on.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	for conn := range l.pending {
		_ = conn.Close() // who admits it closes it again, and has nobody to tell either
	}
	l.mu.Unlock()
	l.cancel()
	return l.ln.Close()
}

// End closes the listener, what streams share, and named streams that have not
// met, and waits for its goroutines.
func (l *Listener) End() {
	_ = l.Close() // it may be closed already, and what is left of a socket the host removes
	l.mu.Lock()
	l.ended = true
	for m := range l.muxes {
		_ = m.Close() // nothing is left to say on it
	}
	l.mu.Unlock()
	l.meeting.end() // after the muxes, on which it may be writing
	l.tasks.Wait()
}

// admission is what a stream has to do to be let in.
type admission struct {
	creds    *secure.Credentials
	preamble bool          // it begins with one
	carrier  bool          // it carries all others, and nothing else is let in
	mux      *mux.Session  // that it came on, in go-plugin's multiplexed mode
	turns    chan struct{} // holds one for each that is doing it
}

// acceptFrom admits what ln accepts, each in a goroutine of its own, until ln
// ends. Once this Listener is closed it drops what comes, and that end is no
// error.
func (l *Listener) acceptFrom(ln net.Listener, a admission) error {
	a.turns = make(chan struct{}, maxPending)
	var delay time.Duration
	for {
		conn, err := ln.Accept()
		if l.ctx.Err() != nil {
			if err != nil {
				return nil //nolint:nilerr // as it is to be
			}
			_ = conn.Close() // it came too late
			continue
		}
		if isTemporary(err) {
			if delay == 0 && l.cfg.Logger != nil {
				l.cfg.Logger.Warn("no connection can be accepted; it is tried again", "error", err)
			}
			delay = min(max(2*delay, time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-l.ctx.Done():
			}
			continue
		}
		if err != nil {
			return err
		}
		delay = 0
		a.turns <- struct{}{} // waits for admitTimeout, and for who opened them to close yamux's streams that were refused
		if !l.begin(conn) {
			<-a.turns
			_ = conn.Close() // none is wanted any more
			continue
		}
		var deliver func(*Stream)
		if a.mux != nil && l.isCurrent(a.mux) { // who has announced a stream has authenticated before
			deliver = l.expected.next() // in the order in which they come
		}
		l.tasks.Go(func() { l.admit(conn, a, deliver) })
	}
}

// isTemporary reports whether Accept may work later, as grpc and net/http find
// it out.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
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

func (l *Listener) isCurrent(m *mux.Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current == m
}

// admit authenticates a stream and gives it to deliver or, if that is nil, sends it
// where its purpose says. There is nobody to report a failure to but the other
// end, which sees it closed.
func (l *Listener) admit(conn net.Conn, a admission, deliver func(*Stream)) {
	p, s, err := authenticate(conn, a)
	l.mu.Lock()
	delete(l.pending, conn)
	if known, lives := l.muxes[a.mux]; err == nil && lives {
		l.current = a.mux
		known.Store(true)
	}
	l.mu.Unlock()
	if err != nil {
		mux.Refuse(conn)
	}
	<-a.turns
	switch {
	case err != nil:
	case deliver != nil:
		deliver(s)
	default:
		if l.dispatch(p, s) != nil {
			_ = conn.Close()
		}
	}
}

func authenticate(conn net.Conn, a admission) (Preamble, *Stream, error) {
	p := Preamble{Purpose: Calls}
	if a.carrier {
		p.Purpose = Carrier
	}
	if err := conn.SetDeadline(time.Now().Add(admitTimeout)); err != nil {
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

// check reports whether a stream may say that it is for this.
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

// dispatch hands a stream on. With an error it is still the caller's.
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
	var known *atomic.Bool
	if l.expected != nil {
		known = new(atomic.Bool)
	}
	m, streams, err := l.newMux(s, known)
	if err != nil {
		return err
	}
	if !l.addMux(m, known) {
		return m.Close()
	}
	if known != nil {
		timer := time.AfterFunc(admitTimeout, func() { l.endStranger(m) })
		defer timer.Stop()
	}
	if err := l.acceptFrom(m, streams); errors.Is(err, mux.ErrFlooded) && l.cfg.Logger != nil { // others end with the connection
		l.cfg.Logger.Warn("a connection was ended", "error", err)
	}
	l.mu.Lock()
	delete(l.muxes, m)
	if l.current == m {
		l.current = nil
	}
	l.mu.Unlock()
	return m.Close()
}

// addMux reports whether m is let in. In go-plugin's multiplexed mode whoever can
// connect gets that far, so there is a bound on those that have not authenticated.
func (l *Listener) addMux(m *mux.Session, known *atomic.Bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	strangers := 0
	for _, other := range l.muxes {
		if isStrange(other) {
			strangers++
		}
	}
	if l.ended || strangers == maxPending {
		return false
	}
	l.muxes[m] = known
	return true
}

// endStranger ends a session on which nobody has authenticated in time.
func (l *Listener) endStranger(m *mux.Session) {
	l.mu.Lock()
	known := l.muxes[m]
	l.mu.Unlock()
	if isStrange(known) {
		_ = m.End() // nothing was said on it
	}
}

// newMux begins a yamux session, and says what its streams have to do.
func (l *Listener) newMux(s *Stream, known *atomic.Bool) (*mux.Session, admission, error) {
	if l.expected != nil {
		m, err := mux.Server(s.Conn, (&peerPolicy{known: known}).judge)
		return m, admission{creds: l.cfg.Credentials, mux: m}, err
	}
	m, err := mux.Server(s.Conn, mux.PluginPolicy)
	return m, admission{creds: secure.Known(s.Info), preamble: true}, err
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
