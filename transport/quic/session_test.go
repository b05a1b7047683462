package quic

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

func TestDialErrors(t *testing.T) {
	_, host := tlsPair(t)
	for address, want := range map[string]string{
		"localhost:1234":        `"localhost:1234" is not an IP address of one machine and a port`,
		"127.0.0.1":             "is not an IP address of one machine and a port",
		"127.0.0.1:http":        "is not an IP address of one machine and a port",
		"127.0.0.1:0":           "127.0.0.1:0 has no port",
		"0.0.0.0:1234":          "is not an IP address of one machine and a port",
		"[fe80::1%lo]:1234":     "is not an IP address of one machine and a port",
		"[ff02::1]:1234":        "is not an IP address of one machine and a port",
		"@127.0.0.1:1234":       "is not an IP address of one machine and a port",
		"127.0.0.1:1234 ":       "is not an IP address of one machine and a port",
		strings.Repeat("1", 80): "is not an IP address of one machine and a port",
	} {
		_, err := New().DialSession(t.Context(), transport.DialConfig{Version: version, Address: address, TLS: host})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DialSession(%q): %v, want %q", address, err, want)
		}
	}
}

// The system reports that no process listens, so the host does not wait for a
// timeout.
func TestNobodyListening(t *testing.T) {
	_, host := tlsPair(t)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := transport.DialConfig{Version: version, Address: socket.LocalAddr().String(), TLS: host}
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New().DialSession(t.Context(), cfg); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("DialSession: %v, want ECONNREFUSED", err)
	}
}

// silentSocket takes packets and never answers.
func silentSocket(tb testing.TB) string {
	tb.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { socket.Close() })
	return socket.LocalAddr().String()
}

func TestSilentPlugin(t *testing.T) {
	_, host := tlsPair(t)
	cfg := transport.DialConfig{Version: version, Address: silentSocket(t), TLS: host}
	t.Run("bounded", func(t *testing.T) {
		tr := New()
		tr.limits.handshake = 200 * time.Millisecond
		_, err := tr.DialSession(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), cfg.Address) {
			t.Errorf("DialSession: %v, want an error that names %s", err, cfg.Address)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := New().Dial(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// Each side refuses a peer that it does not know, and the host's error names
// the side that refused.
func TestWrongCertificate(t *testing.T) {
	p := listen(t, nil)
	stranger := p.host.Clone()
	stranger.Certificates = []tls.Certificate{certificate(t)}
	anonymous := p.host.Clone()
	anonymous.Certificates = nil
	_, other := tlsPair(t) // the pair of another plugin
	other.Certificates = p.host.Certificates
	for name, test := range map[string]struct {
		host *tls.Config
		want string
	}{
		"the plugin does not know the host":   {stranger, "the plugin refused the TLS handshake"},
		"the host has none":                   {anonymous, "the plugin refused the TLS handshake"},
		"the host does not know the plugin":   {other, "the peer's certificate is not the pinned one"},
		"a plugin that speaks something else": {p.host, "no application protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := p.dialConfig()
			cfg.TLS = test.host
			if test.host == p.host {
				cfg.Address = speaking(t, "h3")
			}
			for _, dial := range []func() error{
				func() error { _, err := p.tr.Dial(t.Context(), cfg); return err },
				func() error { _, err := p.tr.DialSession(t.Context(), cfg); return err },
			} {
				if err := dial(); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %q", err, test.want)
				}
			}
		})
	}
	opened, accepted := p.open(t, p.session(t))
	exchange(t, opened, accepted)
}

// speaking returns the address of a QUIC server with another protocol.
func speaking(tb testing.TB, protocol string) string {
	tb.Helper()
	cfg, _ := tlsPair(tb)
	cfg.NextProtos = []string{protocol}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	if _, err := tr.Listen(cfg, nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(tr.Close(), socket.Close()); err != nil {
			tb.Error(err)
		}
	})
	return socket.LocalAddr().String()
}

func TestOpenStreamAtLimit(t *testing.T) {
	const few = 20
	p := listen(t, func(l *limits) { l.streams = few })
	s := p.session(t)
	var opened, accepted net.Conn
	for range few {
		opened, accepted = p.open(t, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.OpenStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("OpenStream with %d streams open: %v, want %v", few, err, context.DeadlineExceeded)
	}
	exchange(t, opened, accepted)
	if err := errors.Join(opened.Close(), accepted.Close()); err != nil {
		t.Fatal(err)
	}
	opened, accepted = p.open(t, s)
	exchange(t, opened, accepted)
}

// What was written before Close arrives, although the reader is slow.
func TestDialedCloseDelivers(t *testing.T) {
	p := listen(t, nil)
	dialed, err := p.tr.Dial(t.Context(), p.dialConfig())
	if err != nil {
		t.Fatal(err)
	}
	accepted := p.accept(t)
	want := bytes.Repeat([]byte("plugwire"), streamWindow/16)
	if _, err := dialed.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := dialed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(accepted, bytes.NewReader(make([]byte, 4*streamWindow))); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write to the stream that its other end has closed: %v, want EPIPE", err)
	}
	got, err := io.ReadAll(accepted)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, len(want))
	}
	if err := accepted.Close(); err != nil {
		t.Error(err)
	}
}

// The connection of a dialed stream ends with it, though the plugin never closes
// its end.
func TestDialedCloseIsBounded(t *testing.T) {
	var accepted net.Conn
	eventually(t, 100*time.Millisecond, func(within time.Duration) error {
		p := listen(t, func(l *limits) { l.linger = within })
		dialed, err := p.tr.Dial(t.Context(), p.dialConfig())
		if err != nil {
			return err
		}
		accepted = p.accept(t)
		return readEOFAfterClose(dialed, accepted)
	})
	wantClosed(t, accepted.(*stream).conn, codeDone)
	if err := accepted.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := accepted.Write([]byte{0}); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write when the connection has ended: %v, want an error", err)
	}
}

func readEOFAfterClose(local, remote net.Conn) error {
	err := local.Close()
	if _, readErr := remote.Read(make([]byte, 1)); !errors.Is(readErr, io.EOF) {
		err = errors.Join(err, readErr, errors.New("want io.EOF"))
	}
	return err
}

// When the plugin's socket disappears without a packet, the system tells the
// host.
func TestPluginVanishes(t *testing.T) {
	p := listen(t, nil)
	opened, accepted := p.open(t, p.session(t))
	exchange(t, opened, accepted)
	ln := p.Listener.(*listener)
	if err := errors.Join(ln.tr.Close(), ln.socket.Close()); err != nil {
		t.Fatal(err)
	}
	read := start(func() error {
		_, err := readByte(opened)
		return err
	})
	if _, err := opened.Write([]byte{0}); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v, want net.ErrClosed", err)
	}
	if err := wait(t, "Read", read); !errors.Is(err, net.ErrClosed) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Read: %v, want net.ErrClosed and ECONNREFUSED", err)
	}
	_ = accepted
	ln.close = func() error { return nil } // the test has closed the socket itself
	ln.end()
	ln.running.Wait()
}

// Keep-alive packets keep an idle session open for longer than the idle timeout, which ends
// a session without them. A host that does not watch the process has packets of its own,
// because it notices by them that the process has ended.
func TestIdleSession(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		unwatched          bool
		keepAlive, watched time.Duration // tenths of the idle timeout; 0 for no packets
		kept               bool
	}{
		"kept alive":                {keepAlive: 1, kept: true},
		"not kept alive":            {watched: 1},
		"kept alive, unwatched":     {unwatched: true, watched: 1, kept: true},
		"not kept alive, unwatched": {unwatched: true, keepAlive: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eventually(t, 400*time.Millisecond, func(idle time.Duration) error {
				p := listen(t, func(l *limits) {
					l.idle, l.keepAlive, l.watched = idle, tt.keepAlive*idle/10, tt.watched*idle/10
				})
				cfg := p.dialConfig()
				cfg.Unwatched = tt.unwatched
				return beIdle(t, p, cfg, tt.kept)
			})
		})
	}
}

// beIdle leaves a session idle for several times the idle timeout. It returns an
// error unless a session with keep-alive packets is still open and one without
// has ended.
func beIdle(t *testing.T, p *plugin, cfg transport.DialConfig, keptAlive bool) error {
	t.Helper()
	idle := p.tr.limits.idle
	dialed, err := p.tr.DialSession(t.Context(), cfg)
	if err != nil {
		return err
	}
	defer dialed.Close()
	opened, err := dialed.OpenStream(t.Context())
	if err != nil {
		return err
	}
	defer opened.Close()
	ended := dialed.(*session).conn.Context().Done()
	accepting := make(chan net.Conn, 1)
	go func() {
		if conn, err := p.Accept(); err == nil { // on an error the listener is closed, at the end of the test
			accepting <- conn
		}
	}()
	var accepted net.Conn
	select {
	case accepted = <-accepting:
		defer accepted.Close()
	case <-ended:
		return errors.New("the session has ended before its stream was accepted")
	}
	if err := tryExchange(opened, accepted); err != nil {
		return err
	}
	select {
	case <-time.After(5 * idle):
	case <-ended:
	}
	if keptAlive {
		return tryExchange(opened, accepted)
	}
	for end, conn := range map[string]net.Conn{"host": opened, "plugin": accepted} {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := readByte(conn); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "nothing came from the peer") {
			return fmt.Errorf("%s: Read: %w, want net.ErrClosed that says why", end, err)
		}
	}
	return nil
}
