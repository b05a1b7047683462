package transporttest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

func checkIdentity(t *testing.T, one, other transport.Transport) {
	t.Helper()
	if _, err := transport.NewSet(one); err != nil {
		t.Fatal(err)
	}
	_, native := one.(transport.Native)
	_, preparer := one.(transport.Preparer)
	if native && preparer {
		t.Error("it is both a transport.Native and a transport.Preparer: a host can use it one way only")
	}
	if one.Name() != other.Name() || !slices.Equal(one.Versions(), other.Versions()) {
		t.Errorf("two values differ: %s %v and %s %v", one.Name(), one.Versions(), other.Name(), other.Versions())
	}
}

func checkAddress(e *env) {
	ln := e.listen()
	address := ln.Addr().String()
	if err := transport.CheckAddress(address); err != nil {
		e.Fatal(err)
	}
	e.pair(ln)
	if got := ln.Addr().String(); got != address {
		e.Errorf("the address changed from %q to %q", address, got)
	}
}

// checkListeners opens several listeners at once, which must not share an
// address or accept each other's connections.
func checkListeners(e *env) {
	const n = 10
	listeners := make([]net.Listener, n)
	opened := make([]<-chan error, n)
	for i := range n {
		opened[i] = start(func() (err error) {
			listeners[i], err = e.plugin.Listen(e.Context(), e.listenConfig())
			return err
		})
	}
	for i := range n {
		if err := <-opened[i]; err != nil {
			e.Errorf("Listen: %v", err)
		} else {
			e.keep(listeners[i])
		}
	}
	if e.Failed() {
		return
	}
	seen := make(map[string]bool, n)
	for i, ln := range listeners {
		address := ln.Addr().String()
		if seen[address] {
			e.Fatalf("two listeners have the address %s", address)
		}
		seen[address] = true
		dialed, accepted := e.pair(e.link(ln))
		if err := transfer(dialed, accepted, 1000, i); err != nil {
			e.Error(err)
		}
	}
}

// checkReopen listens again at the place of a closed listener.
func checkReopen(e *env) {
	for range 10 {
		ln := e.listen()
		dialed, accepted := e.pair(ln)
		if err := transfer(dialed, accepted, 1000, 1); err != nil {
			e.Error(err)
		}
		if err := ln.Close(); err != nil {
			e.Fatalf("Close of the listener: %v", err)
		}
	}
}

func checkDirectory(e *env) {
	// The transport uses the given directory. After Close the directory is
	// empty and still exists.
	ln := e.listen()
	e.pair(ln)
	wantEmpty(e.T, e.tmp)
	if err := ln.Close(); err != nil {
		e.Errorf("Close of the listener: %v", err)
	}
	wantEmpty(e.T, e.dir)

	// Without a directory, two listeners do not disturb each other.
	e.dir = ""
	one, other := e.listen(), e.listen()
	if err := one.Close(); err != nil {
		e.Errorf("Close of the listener: %v", err)
	}
	e.pair(other)
	if err := other.Close(); err != nil {
		e.Errorf("Close of the listener: %v", err)
	}
	wantEmpty(e.T, e.tmp)
}

// portAttempts is how often another process may take a free port before the
// check listens on it.
const portAttempts = 5

// checkPorts listens on a range of one port, and again while that port is in
// use. A transport has ports if its address has one.
func checkPorts(e *env) {
	ln := e.listen()
	if _, err := netip.ParseAddrPort(ln.Addr().String()); err != nil {
		e.Skipf("the address %s has no port", ln.Addr())
	}
	var err error
	for range portAttempts {
		free := e.listen()
		port := int(netip.MustParseAddrPort(free.Addr().String()).Port())
		if err := free.Close(); err != nil {
			e.Fatalf("Close of the listener: %v", err)
		}
		cfg := e.listenConfig()
		cfg.MinPort, cfg.MaxPort = port, port
		var ln net.Listener
		if ln, err = e.plugin.Listen(e.Context(), cfg); err != nil {
			continue
		}
		e.keep(ln)
		if got := netip.MustParseAddrPort(ln.Addr().String()).Port(); int(got) != port {
			e.Fatalf("Listen with the ports %d to %d: port %d", port, port, got)
		}
		e.pair(e.link(ln))
		if second, err := e.plugin.Listen(e.Context(), cfg); err == nil {
			e.keep(second)
			e.Error("Listen when the only port is taken: no error")
		}
		return
	}
	e.Errorf("Listen with one port that was free, %d times: %v", portAttempts, err)
}

func checkUnknownVersion(e *env) {
	address := e.listen().Addr().String()
	for _, e.version = range []int{0, -1, slices.Max(e.plugin.Versions()) + 1} {
		ln, err := e.plugin.Listen(e.Context(), e.listenConfig())
		if err == nil {
			e.keep(ln)
			e.Errorf("Listen with version %d: no error", e.version)
		}
		conn, err := e.dial(e.Context(), address)
		if err == nil {
			e.keep(conn)
			e.Errorf("Dial with version %d: no error", e.version)
		}
	}
}

// maxErrorLen bounds the error for a bad address, so that a peer cannot fill a
// log: an address of the longest kind with every byte escaped, and some words.
const maxErrorLen = 8 * transport.MaxAddressLen

func checkGarbageAddress(e *env) {
	good := e.listen().Addr().String()
	garbage := []string{
		// CheckAddress refuses these addresses. Most differ little from a valid
		// one.
		"", " ", "\x00", "\n", "\xff\xfe", "ü",
		good + "\x00", good + "\x00" + good, "\x00" + good,
		good + "\n", good + "|", "|" + good, " " + good, good + " ",
		good + strings.Repeat("x", transport.MaxAddressLen),
		strings.Repeat("/", transport.MaxAddressLen+1),
		strings.Repeat("9", 1<<20), // as long as a message, not as an address
		// CheckAddress accepts these, but no transport has this syntax.
		"x", "/", ".", "..", "@", "@x", ":", "::::", "[", "[::1", "-1", "%00", "%s%n",
		"://", "file:///", "127.0.0.1", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:99999", "256.0.0.1:1",
		strings.Repeat("x", transport.MaxAddressLen),
		strings.Repeat("/x", transport.MaxAddressLen/2),
		strings.Repeat("../", transport.MaxAddressLen/3),
	}
	ctx, cancel := context.WithTimeout(e.Context(), limit/2)
	defer cancel()
	for _, address := range garbage {
		err := e.refused(ctx, address)
		if text := err.Error(); len(text) > maxErrorLen || strings.Contains(text, "\x00") {
			e.Errorf("Dial(%.80q): the error is %d bytes long, at most %d are allowed, and no NUL: %.80q", address, len(text), maxErrorLen, text)
		}
	}
	if ctx.Err() != nil {
		e.Error("addresses were refused only when the context ended")
	}
}

func checkNobodyListening(e *env) {
	ln := e.listen()
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		e.Fatalf("Close of the listener: %v", err)
	}
	// The context may be the only bound that the transport has.
	ctx, cancel := context.WithTimeout(e.Context(), limit/2)
	defer cancel()
	if err := e.refused(ctx, address); !strings.Contains(err.Error(), address) {
		e.Errorf("the error does not name the address %s: %v", address, err)
	}
}

func checkContextEndedBefore(e *env) {
	address := e.listen().Addr().String()
	cancelled, cancel := context.WithCancel(e.Context())
	cancel()
	expired, cancel := context.WithTimeout(e.Context(), 0)
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		ln, err := e.plugin.Listen(ctx, e.listenConfig())
		if err == nil {
			e.keep(ln)
		}
		if !errors.Is(err, ctx.Err()) {
			e.Errorf("Listen: error %v, want %v", err, ctx.Err())
		}
		conn, err := e.dial(ctx, address)
		if err == nil {
			e.keep(conn)
		}
		if !errors.Is(err, ctx.Err()) {
			e.Errorf("Dial: error %v, want %v", err, ctx.Err())
		}
	}
}

// openTime bounds how long it usually takes to open a listener and a
// connection, maxOpenTime on a machine that is busy with other things.
const (
	openTime    = time.Second
	maxOpenTime = limit / 4
)

// checkContextEndsAfter checks that the deadlines of the contexts of Listen and
// Dial do not end the listener and the connection.
func checkContextEndsAfter(e *env) {
	var ln *link
	var conn net.Conn
	for within := openTime; ; within *= 2 {
		ctx, cancel := context.WithTimeout(e.Context(), within)
		defer cancel()
		var err error
		ln, conn, err = e.echoing(ctx)
		if err == nil {
			<-ctx.Done()
			break
		}
		if ctx.Err() == nil || within > maxOpenTime {
			e.Fatalf("Listen and Dial: %v", err)
		}
	}
	// Wait a little longer, until the same deadline on a connection has passed
	// too.
	after, cancel := context.WithTimeout(e.Context(), 100*time.Millisecond)
	defer cancel()
	<-after.Done()
	if err := transfer(conn, conn, 1000, 1); err != nil {
		e.Errorf("a connection, after the context of Dial has ended: %v", err)
	}
	if e.way == prepared {
		return
	}
	late := e.open(e.Context(), ln)
	if err := transfer(late, late, 1000, 1); err != nil {
		e.Errorf("a listener, after the context of Listen has ended: %v", err)
	}
}

// echoing opens a listener whose connections echo, and a connection to it.
func (e *env) echoing(ctx context.Context) (*link, net.Conn, error) {
	ln, err := e.tryListen(ctx)
	if err != nil {
		return nil, nil, err
	}
	e.echo(ln)
	conn, err := ln.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	e.keep(conn)
	return ln, conn, nil
}

func checkListenerClose(e *env) {
	ln := e.listen()
	dialed, accepted := e.pair(ln)

	accept := start(func() error {
		conn, err := ln.Accept()
		if err == nil {
			err = errors.Join(errors.New("a connection that was never dialed"), conn.Close())
		}
		return err
	})
	yield()
	if err := ln.Close(); err != nil {
		e.Errorf("Close: %v", err)
	}
	if err := <-accept; !errors.Is(err, net.ErrClosed) {
		e.Errorf("Accept while the listener is closed: %v, want net.ErrClosed", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		e.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
	if err := closeAgain(ln); err != nil {
		e.Errorf("second Close: %v, want nil or net.ErrClosed", err)
	}
	if err := errors.Join(transfer(dialed, accepted, 1000, 1), transfer(accepted, dialed, 1000, 2)); err != nil {
		e.Errorf("an accepted connection, after Close of its listener: %v", err)
	}
}
