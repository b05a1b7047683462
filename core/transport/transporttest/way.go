package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/plugwire/plugwire/core/transport"
)

// A way is how a host gets a connection to a plugin. Values are bits, so that a
// check can name several.
type way int

const (
	byAddress way = 1 << iota // Transport.Dial
	bySession                 // Native.DialSession: connections are streams of one session
	prepared                  // Preparer.Prepare: one connection for each listener

	dialing = byAddress | bySession
	anyWay  = dialing | prepared
)

// ways returns the ways that a transport offers.
func ways(t transport.Transport) []way {
	switch t.(type) {
	case transport.Preparer:
		return []way{prepared}
	case transport.Native:
		return []way{byAddress, bySession}
	}
	return []way{byAddress}
}

// prefix begins the names of a way's checks.
func (w way) prefix() string {
	switch w {
	case bySession:
		return "Session"
	case prepared:
		return "Prepared"
	default:
		return ""
	}
}

// link is a plugin's listener and the host's way to connect to it.
type link struct {
	net.Listener
	// open opens a connection, which the caller closes. It is safe for
	// concurrent use.
	open func(context.Context) (net.Conn, error)
}

// listen opens a listener in e.dir.
func (e *env) listen() *link {
	e.Helper()
	ln, err := e.tryListen(e.Context())
	if err != nil {
		e.Fatal(err)
	}
	return ln
}

// tryListen is listen for any goroutine of the check, one at a time.
func (e *env) tryListen(ctx context.Context) (*link, error) {
	cfg := e.listenConfig()
	var conn net.Conn // the host's end of a prepared connection
	if e.way == prepared {
		var err error
		if conn, cfg.Files, err = e.prepare(ctx); err != nil {
			return nil, err
		}
	}
	ln, err := e.plugin.Listen(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	e.keep(ln)
	if e.way == prepared {
		return &link{ln, once(conn)}, nil
	}
	return e.link(ln), nil
}

// link returns a listener that has an address, with the check's way to connect
// to it.
func (e *env) link(ln net.Listener) *link { return &link{ln, e.opener(ln.Addr().String())} }

// opener returns a function that opens connections to an address.
func (e *env) opener(address string) func(context.Context) (net.Conn, error) {
	if e.way == bySession {
		return e.streams(address)
	}
	return func(ctx context.Context) (net.Conn, error) {
		return e.host.Dial(ctx, e.dialConfig(address))
	}
}

// streams returns a function that opens streams of one session. The first call
// dials the session, the end of the check closes it.
func (e *env) streams(address string) func(context.Context) (net.Conn, error) {
	var mu sync.Mutex // guards session
	var session transport.Session
	dial := func(ctx context.Context) (transport.Session, error) {
		mu.Lock()
		defer mu.Unlock()
		var err error
		if session == nil {
			session, err = e.dialSession(ctx, address)
		}
		return session, err
	}
	e.cleanups = append(e.cleanups, func() {
		mu.Lock()
		defer mu.Unlock()
		if session == nil {
			return
		}
		if err := closeAgain(session); err != nil {
			e.Errorf("Close of the session: %v", err)
		}
	})
	return func(ctx context.Context) (net.Conn, error) {
		s, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := s.OpenStream(ctx)
		if err != nil {
			return nil, fmt.Errorf("open a stream: %w", err)
		}
		return conn, nil
	}
}

// once returns a function that returns conn at its first call only.
func once(conn net.Conn) func(context.Context) (net.Conn, error) {
	var mu sync.Mutex // guards conn
	return func(context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if conn == nil {
			return nil, errors.New("a prepared start has one connection only")
		}
		defer func() { conn = nil }()
		return conn, nil
	}
}

// listenConfig is the configuration for Listen of any transport except a
// Preparer.
func (e *env) listenConfig() transport.ListenConfig {
	return transport.ListenConfig{Version: e.version, Dir: e.dir, TLS: e.tls.plugin}
}

func (e *env) dialConfig(address string) transport.DialConfig {
	return transport.DialConfig{Version: e.version, Address: address, TLS: e.tls.host}
}

// dialSession dials like a host of a Native transport. It is safe for
// concurrent use; the caller closes the session.
func (e *env) dialSession(ctx context.Context, address string) (transport.Session, error) {
	session, err := e.host.(transport.Native).DialSession(ctx, e.dialConfig(address))
	if err != nil {
		return nil, fmt.Errorf("dial a session: %w", err)
	}
	return session, nil
}

// dial dials an address in the check's way. The caller closes what it returns,
// a connection or a session.
func (e *env) dial(ctx context.Context, address string) (io.Closer, error) {
	if e.way == bySession {
		return e.dialSession(ctx, address)
	}
	return e.host.Dial(ctx, e.dialConfig(address))
}

// prepare prepares a start. It returns the host's end, and the files under new
// descriptors, as a process inherits them. The end of the check closes the
// host's end, the caller closes the files.
func (e *env) prepare(ctx context.Context) (net.Conn, []*os.File, error) {
	version := slices.Max(e.host.Versions()) // whichever version the plugin then chooses
	p, err := e.host.(transport.Preparer).Prepare(ctx, transport.PrepareConfig{Version: version})
	if err != nil {
		return nil, nil, fmt.Errorf("prepare: %w", err)
	}
	e.keep(p.Conn)
	var files []*os.File
	for _, own := range p.Files {
		file, inheritErr := inherit(own)
		if inheritErr == nil {
			files = append(files, file)
		}
		err = errors.Join(err, inheritErr, own.Close())
	}
	if err != nil {
		for _, file := range files {
			err = errors.Join(err, file.Close())
		}
		return nil, nil, err
	}
	return p.Conn, files, nil
}
