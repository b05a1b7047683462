package quic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// freePort returns a port of 127.0.0.1 that was free just now, and is outside of
// the range from which the system gives ports to others.
func freePort(tb testing.TB) int {
	tb.Helper()
	const lowest, ports = 20000, 10000
	for range ports {
		port := lowest + rand.IntN(ports)
		if socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			socket.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return 0
}

// busyPort returns a port of 127.0.0.1 that is taken until the test ends.
func busyPort(tb testing.TB) int {
	tb.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { socket.Close() })
	return socket.LocalAddr().(*net.UDPAddr).Port
}

func TestListenErrors(t *testing.T) {
	tlsConfig, _ := tlsPair(t)
	busy := busyPort(t)
	tests := []struct {
		address  string
		min, max int
		want     string
	}{
		{address: "localhost:0", want: `"localhost:0" is not an IP address of one machine and a port`},
		{address: "127.0.0.1", want: "is not an IP address of one machine and a port"},
		{address: "[::1]", want: "is not an IP address of one machine and a port"},
		{address: "", want: "is not an IP address of one machine and a port"},
		{address: "224.0.0.1:0", want: "is not an IP address of one machine and a port"},
		{address: fmt.Sprintf("127.0.0.1:%d", busy), want: "address already in use"},
		{address: "127.0.0.1:0", min: busy, max: busy, want: fmt.Sprintf("no free port from %d to %d: listen udp4 127.0.0.1:%d", busy, busy, busy)},
		{address: "127.0.0.1:0", min: 2, max: 1, want: "there are no ports 2 to 1"},
		{address: "127.0.0.1:0", max: 1, want: "there are no ports 0 to 1"},
		{address: "127.0.0.1:0", min: 65535, max: 65536, want: "there are no ports 65535 to 65536"},
	}
	for _, test := range tests {
		ln, err := New(WithListenAddress(test.address)).Listen(t.Context(), transport.ListenConfig{
			Version: version, TLS: tlsConfig, MinPort: test.min, MaxPort: test.max,
		})
		if err == nil {
			ln.Close()
			t.Errorf("Listen(%q, %d, %d): no error", test.address, test.min, test.max)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("Listen(%q, %d, %d): %v, want %q", test.address, test.min, test.max, err, test.want)
		}
	}
}

func TestListenAddress(t *testing.T) {
	tlsConfig, host := tlsPair(t)
	free, other := freePort(t), freePort(t)
	for _, test := range []struct {
		address  string
		min, max int
		want     string // a prefix
	}{
		{"127.0.0.1:0", 0, 0, "127.0.0.1:"},
		{"127.0.0.1:0", free, free, fmt.Sprintf("127.0.0.1:%d", free)},
		{fmt.Sprintf("127.0.0.1:%d", other), 1, 1, fmt.Sprintf("127.0.0.1:%d", other)},
		{"[::1]:0", 0, 0, "[::1]:"},
	} {
		t.Run(test.address, func(t *testing.T) {
			tr := New(WithListenAddress(test.address))
			ln, err := tr.Listen(t.Context(), transport.ListenConfig{Version: version, TLS: tlsConfig, MinPort: test.min, MaxPort: test.max})
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Skipf("no such address here, as IPv6 is off: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			p := &plugin{ln, tr, host}
			if got := p.Addr().String(); !strings.HasPrefix(got, test.want) {
				t.Errorf("it listens on %s, want %s", got, test.want)
			}
			opened, accepted := p.open(t, p.session(t))
			exchange(t, opened, accepted)
		})
	}
}

// Listen skips a port of the range that is in use.
func TestNextPort(t *testing.T) {
	tlsConfig, _ := tlsPair(t)
	busy := busyPort(t)
	ln, err := New().Listen(t.Context(), transport.ListenConfig{Version: version, TLS: tlsConfig, MinPort: busy, MaxPort: 65535})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if port := ln.Addr().(*net.UDPAddr).Port; port <= busy {
		t.Errorf("listens on port %d, want one above %d", port, busy)
	}
}

// Any process that knows the port can send it anything.
func TestGarbagePackets(t *testing.T) {
	p := listen(t, nil)
	socket, err := net.Dial("udp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	long := make([]byte, 60_000)
	for i := range 256 {
		for _, n := range []int{0, 1, 20, 1200, len(long)} {
			long[0] = byte(i)
			if _, err := socket.Write(long[:n]); err != nil {
				t.Fatal(err)
			}
		}
	}
	opened, accepted := p.open(t, p.session(t))
	exchange(t, opened, accepted)
}

func TestOtherProtocolIsRefused(t *testing.T) {
	p := listen(t, nil)
	for _, protocols := range [][]string{{"h3"}, {"plugwire2"}} {
		if _, err := p.raw(t, nil, protocols...); err == nil || !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("a host that speaks %q: %v, want it to be refused", protocols, err)
		}
	}
}

// A peer gets streams in both directions, and no other feature of QUIC.
func TestWhatIsOffered(t *testing.T) {
	p := listen(t, nil)
	conn, err := p.raw(t, &quic.Config{EnableDatagrams: true}, alpn)
	if err != nil {
		t.Fatal(err)
	}
	if conn.ConnectionState().SupportsDatagrams.Remote {
		t.Error("datagrams are accepted")
	}
	if _, err := conn.OpenUniStream(); err == nil {
		t.Error("streams in one direction are accepted")
	}
	for i := range 1 + maxStreams { // and the control stream
		if _, err := conn.OpenStream(); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if _, err := conn.OpenStream(); err == nil {
		t.Errorf("more than %d streams are accepted", maxStreams)
	}
}

func TestHostWithoutGreeting(t *testing.T) {
	for name, greet := range map[string]func(*quic.Conn) error{
		"silent":         func(*quic.Conn) error { return nil },
		"a byte unknown": func(conn *quic.Conn) error { _, err := tryRawStream(conn, 7); return err },
		"an end at once": func(conn *quic.Conn) error {
			str, err := tryRawStream(conn)
			if err != nil {
				return err
			}
			return str.Close()
		},
		"a stream too late": func(conn *quic.Conn) error {
			if _, err := conn.OpenStream(); err != nil {
				return err
			}
			_, err := tryRawStream(conn, firstByte)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			eventually(t, 500*time.Millisecond, func(within time.Duration) error {
				p := listen(t, func(l *limits) { l.handshake = within }) // includes the handshake before it
				conn, err := p.raw(t, nil, alpn)
				if err != nil {
					return err
				}
				if err := greet(conn); err != nil {
					return err
				}
				return closed(conn, codeProtocol, 2*within)
			})
		})
	}
}

// Streams that start badly are refused, and block no other stream.
func TestBadStart(t *testing.T) {
	p := listen(t, func(l *limits) { l.firstByte = time.Second })
	conn := p.rawGreeted(t)
	silent, err := conn.OpenStream() // this stream exists for the plugin as soon as a later one does
	if err != nil {
		t.Fatal(err)
	}
	wrong := rawStream(t, conn, 2, 2, 3)
	good := rawStream(t, conn, firstByte, 42)
	accepted := p.accept(t)
	if b, err := readByte(accepted); err != nil || b != 42 {
		t.Errorf("read %d, %v, want 42", b, err)
	}
	if accepted.(*stream).str.StreamID() != good.StreamID() {
		t.Error("another stream was accepted")
	}
	for name, str := range map[string]*quic.Stream{"silent": silent, "wrong": wrong} {
		result := start(func() error {
			_, err := readByte(str)
			return err
		})
		want := &quic.StreamError{StreamID: str.StreamID(), ErrorCode: codeBadStart, Remote: true}
		if err := wait(t, "Read", result); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// A host that announced one stream gets only one.
func TestSecondOfOneStream(t *testing.T) {
	p := listen(t, nil)
	conn, err := p.raw(t, nil, alpn)
	if err != nil {
		t.Fatal(err)
	}
	rawStream(t, conn, oneStream)
	rawStream(t, conn, firstByte)
	p.accept(t)
	second := rawStream(t, conn, firstByte)
	result := start(func() error {
		_, err := readByte(second)
		return err
	})
	want := &quic.StreamError{StreamID: second.StreamID(), ErrorCode: codeRefused, Remote: true}
	if err := wait(t, "Read", result); !errors.Is(err, want) {
		t.Errorf("the second stream: %v, want %v", err, want)
	}
}

func TestMaxConns(t *testing.T) {
	p := listen(t, nil)
	sessions := make([]transport.Session, maxConns)
	for i := range sessions {
		sessions[i] = p.session(t)
	}
	// The host tries until its context ends. On a busy machine it may not be
	// refused even once until then.
	for within := 100 * time.Millisecond; ; within *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		s, err := p.tr.DialSession(ctx, p.dialConfig())
		cancel()
		if err == nil {
			t.Fatalf("connection %d was let in (close: %v)", maxConns+1, s.Close())
		}
		if strings.Contains(err.Error(), "no room for one more connection") {
			break
		}
		if within > patience {
			t.Fatalf("connection %d: %v, want it to be refused", maxConns+1, err)
		}
	}
	if err := sessions[0].Close(); err != nil {
		t.Error(err)
	}
	p.session(t) // at the latest when the plugin has noticed the end
}

// Streams keep working when the listener is closed, and the plugin accepts no
// others. When they have ended, the plugin holds no resources, whatever the
// host does.
func TestListenerCloseWithStreams(t *testing.T) {
	p := listen(t, func(l *limits) { l.linger = 100 * time.Millisecond })
	address := p.Addr().String()
	s, idle := p.session(t), p.session(t)
	opened, accepted := p.open(t, s)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := s.OpenStream(t.Context()); err == nil { // the refusal comes later
		if _, err := readByte(conn); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Read of a stream that came too late: %v, want ECONNREFUSED", err)
		}
		conn.Close()
	}
	exchange(t, opened, accepted)
	wantClosed(t, idle.(*session).conn, codeDone)
	if err := accepted.Close(); err != nil {
		t.Error(err)
	}
	wantClosed(t, s.(*session).conn, codeDone)
	if _, err := s.OpenStream(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("OpenStream of a session that the plugin ended: %v, want net.ErrClosed", err)
	}
	deadline := time.Now().Add(patience) // the socket is closed right after
	for {
		socket, err := listenUDP(t.Context(), netip.MustParseAddrPort(address))
		if err == nil {
			socket.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the socket is still open: %v", err)
		}
	}
}

// When Linger returns because hosts have ended their sessions, all written
// bytes are delivered. If hosts do not end their sessions, the context ends
// Linger.
func TestLinger(t *testing.T) {
	p := listen(t, nil)
	s := p.session(t)
	opened, accepted := p.open(t, s)
	const size = streamWindow // Write does not block without a reader
	if _, err := accepted.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(accepted.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p.Listener.(*listener).Linger(ctx)
	if ctx.Err() == nil {
		t.Error("Linger returned before the session ended")
	}
	lingered := start(func() error {
		p.Listener.(*listener).Linger(t.Context())
		return nil
	})
	if n, err := io.Copy(io.Discard, opened); n != size || err != nil {
		t.Errorf("%d of %d bytes arrived, %v", n, size, err)
	}
	if err := errors.Join(opened.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := wait(t, "Linger", lingered); err != nil {
		t.Error(err)
	}
}

// A stream that nobody accepts ends with the listener.
func TestListenerCloseBeforeAccept(t *testing.T) {
	p := listen(t, nil)
	s := p.session(t)
	before, accepted := p.open(t, s)
	opened, err := s.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	exchange(t, before, accepted) // the stream was sent earlier, so that it has arrived
	read := start(func() error { return readAll(opened) })
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := wait(t, "Read", read); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read: %v, want an error", err)
	}
}
