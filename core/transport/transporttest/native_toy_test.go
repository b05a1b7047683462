package transporttest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

// nativeToy is a correct Native transport: each stream is a TCP connection of
// its own, which authenticates both ends in a TLS handshake and then sends
// plain bytes. It keeps the contract, and is not fit for use.
type nativeToy struct{ toy }

// The first byte of a connection tells what it is for. The plugin sends one
// byte when it has accepted the host.
const (
	toySession byte = 's'
	toyStream  byte = 't'
	toyWelcome byte = 'w'
)

// toyHandshakeTime bounds the wait for a silent peer.
const toyHandshakeTime = 10 * time.Second

// toyConn is a stream. It knows the TLS state of its peer.
type toyConn struct {
	*net.TCPConn
	state tls.ConnectionState
}

func (c *toyConn) ConnectionState() tls.ConnectionState { return c.state }

func (nativeToy) Versions() []int { return []int{1} }

// tls checks the version and returns the TLS configuration to use.
func (nativeToy) tls(version int, cfg *tls.Config) (*tls.Config, error) {
	if version != 1 {
		return nil, fmt.Errorf("toy: version %d is not known", version)
	}
	if cfg == nil {
		return nil, errors.New("toy: no TLS configuration")
	}
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS13 // in TLS 1.3 the host speaks last
	return cfg, nil
}

func (t nativeToy) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	conn, err := t.connect(ctx, cfg, toyStream)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

func (t nativeToy) DialSession(ctx context.Context, cfg transport.DialConfig) (transport.Session, error) {
	conn, err := t.connect(ctx, cfg, toySession)
	if err != nil {
		return nil, err
	}
	return &toySessionConn{cfg: cfg}, conn.Close()
}

func (t nativeToy) connect(ctx context.Context, cfg transport.DialConfig, purpose byte) (_ *toyConn, err error) {
	tlsConfig, err := t.tls(cfg.Version, cfg.TLS)
	if err != nil {
		return nil, err
	}
	conn, err := t.toy.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if err != nil {
			conn.Close()
		}
		if !stop() {
			err = ctx.Err()
		}
	}()
	if _, err := conn.Write([]byte{purpose}); err != nil {
		return nil, err
	}
	secure := tls.Client(conn, tlsConfig)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("toy: %s: %w", cfg.Address, err)
	}
	welcome := make([]byte, 1)
	if _, err := io.ReadFull(conn, welcome); err != nil {
		return nil, fmt.Errorf("toy: %s: %w", cfg.Address, err)
	}
	if welcome[0] != toyWelcome {
		return nil, fmt.Errorf("toy: %s: the plugin refuses this host", cfg.Address)
	}
	return &toyConn{conn.(*net.TCPConn), secure.ConnectionState()}, nil
}

// toySessionConn is a session: it knows its streams.
type toySessionConn struct {
	cfg transport.DialConfig

	mu      sync.Mutex // guards the rest
	closed  bool
	streams []*toyConn
}

func (s *toySessionConn) OpenStream(ctx context.Context) (net.Conn, error) {
	conn, err := nativeToy{}.connect(ctx, s.cfg, toyStream)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		if err == nil {
			conn.Close()
		}
		return nil, fmt.Errorf("toy: session: %w", net.ErrClosed)
	case err != nil:
		return nil, err
	}
	s.streams = append(s.streams, conn)
	return conn, nil
}

func (s *toySessionConn) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, conn := range s.streams {
		_ = conn.SetLinger(0) // a reset; fails where the stream is closed already
		_ = conn.Close()
	}
	s.streams = nil
	return nil
}

func (t nativeToy) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	tlsConfig, err := t.tls(cfg.Version, cfg.TLS)
	if err != nil {
		return nil, err
	}
	ln, err := t.toy.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	l := &toyListener{Listener: ln, tls: tlsConfig, streams: make(chan net.Conn)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.run)
	return l, nil
}

// toyListener accepts TCP connections and hands on those that are streams.
type toyListener struct {
	net.Listener
	tls     *tls.Config
	streams chan net.Conn
	ctx     context.Context //nolint:containedctx // ends with the listener
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (l *toyListener) run() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return // closed
		}
		l.running.Go(func() {
			if !l.serve(conn.(*net.TCPConn)) {
				conn.Close()
			}
		})
	}
}

// serve reports whether conn has become a stream.
func (l *toyListener) serve(conn *net.TCPConn) bool {
	ctx, cancel := context.WithTimeout(l.ctx, toyHandshakeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	purpose := make([]byte, 1)
	if _, err := io.ReadFull(conn, purpose); err != nil {
		return false
	}
	secure := tls.Server(conn, l.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return false
	}
	if _, err := conn.Write([]byte{toyWelcome}); err != nil || purpose[0] != toyStream || !stop() {
		return false
	}
	select {
	case l.streams <- &toyConn{conn, secure.ConnectionState()}:
		return true
	case <-l.ctx.Done():
		return false
	}
}

func (l *toyListener) Accept() (net.Conn, error) {
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	select {
	case conn := <-l.streams:
		return conn, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *toyListener) Close() error {
	l.cancel()
	err := l.Listener.Close()
	l.running.Wait()
	return err
}

// brokenNative is the native toy with parts replaced. For a nil part the toy's
// is used.
type brokenNative struct {
	nativeToy
	listen      func(context.Context, transport.ListenConfig) (net.Listener, error)
	dial        func(context.Context, transport.DialConfig) (net.Conn, error)
	dialSession func(context.Context, transport.DialConfig) (transport.Session, error)
	// session and conn wrap what DialSession, and what OpenStream, Dial and
	// Accept, return.
	session func(*brokenSession)
	conn    func(*brokenConn)
}

func (b *brokenNative) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	listen := b.nativeToy.Listen
	if b.listen != nil {
		listen = b.listen
	}
	ln, err := listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &brokenListener{Listener: ln, accept: func() (net.Conn, error) { return b.wrap(ln.Accept()) }}, nil
}

func (b *brokenNative) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	if b.dial != nil {
		return b.dial(ctx, cfg)
	}
	return b.wrap(b.nativeToy.Dial(ctx, cfg))
}

func (b *brokenNative) DialSession(ctx context.Context, cfg transport.DialConfig) (transport.Session, error) {
	dial := b.nativeToy.DialSession
	if b.dialSession != nil {
		dial = b.dialSession
	}
	s, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	session := &brokenSession{Session: s}
	if b.session != nil {
		b.session(session)
	}
	if b.conn != nil {
		session.openStream = func(ctx context.Context) (net.Conn, error) { return b.wrap(s.OpenStream(ctx)) }
	}
	return session, nil
}

func (b *brokenNative) wrap(conn net.Conn, err error) (net.Conn, error) {
	if err != nil || b.conn == nil {
		return conn, err
	}
	c := &brokenConn{Conn: conn}
	b.conn(c)
	return c, nil
}

// brokenSession is a session with methods replaced. For a nil one the session's
// own is used.
type brokenSession struct {
	transport.Session
	openStream func(context.Context) (net.Conn, error)
	close      func() error
}

func (s *brokenSession) OpenStream(ctx context.Context) (net.Conn, error) {
	if s.openStream != nil {
		return s.openStream(ctx)
	}
	return s.Session.OpenStream(ctx)
}

func (s *brokenSession) Close() error {
	if s.close != nil {
		return s.close()
	}
	return s.Session.Close()
}
