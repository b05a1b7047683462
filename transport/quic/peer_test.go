package quic

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/plugwire/plugwire/core/transport"
)

// patience is far more than any step of these tests takes, unless it is stuck.
const patience = time.Minute

// tlsPair returns the configurations of a plugin and a host that accept each
// other.
func tlsPair(tb testing.TB) (plugin, host *tls.Config) {
	tb.Helper()
	p, h := certificate(tb), certificate(tb)
	return pinned(p, h), pinned(h, p)
}

// certificate makes a one-time certificate.
func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pinned is the configuration of a side that presents own and accepts peer.
func pinned(own, peer tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{own},
		ServerName:         "localhost",
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, peer.Certificate[0]) {
				return errors.New("the peer's certificate is not the pinned one")
			}
			return nil
		},
		SessionTicketsDisabled: true,
		CurvePreferences:       []tls.CurveID{tls.X25519, tls.CurveP256},
	}
}

// plugin is a listener with what a host needs to dial it.
type plugin struct {
	net.Listener
	tr   *Transport
	host *tls.Config
}

// listen opens a listener with limits that the test changes.
func listen(tb testing.TB, change func(*limits)) *plugin {
	tb.Helper()
	tr := New()
	tr.limits.handshake = patience // a busy machine may need more than 10 s
	if change != nil {
		change(&tr.limits)
	}
	own, host := tlsPair(tb)
	ln, err := tr.Listen(tb.Context(), transport.ListenConfig{Version: version, TLS: own})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ln.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &plugin{ln, tr, host}
}

func (p *plugin) dialConfig() transport.DialConfig {
	return transport.DialConfig{Version: version, Address: p.Addr().String(), TLS: p.host}
}

// session dials like a host.
func (p *plugin) session(tb testing.TB) transport.Session {
	tb.Helper()
	s, err := p.tr.DialSession(tb.Context(), p.dialConfig())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// open opens a stream and returns both ends.
func (p *plugin) open(tb testing.TB, s transport.Session) (opened, accepted net.Conn) {
	tb.Helper()
	opened, err := s.OpenStream(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { opened.Close() })
	return opened, p.accept(tb)
}

func (p *plugin) accept(tb testing.TB) net.Conn {
	tb.Helper()
	accepted, err := p.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { accepted.Close() })
	return accepted
}

// raw connects like a host, and the test decides what it then does.
func (p *plugin) raw(tb testing.TB, cfg *quic.Config, protocols ...string) (*quic.Conn, error) {
	tb.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	tb.Cleanup(func() {
		if err := errors.Join(tr.Close(), socket.Close()); err != nil {
			tb.Error(err)
		}
	})
	host := p.host.Clone()
	host.NextProtos = protocols
	conn, err := tr.Dial(tb.Context(), p.Addr(), host, cfg)
	if err == nil {
		tb.Cleanup(func() { conn.CloseWithError(0, "") })
	}
	return conn, err
}

// rawGreeted is raw with a correct control stream.
func (p *plugin) rawGreeted(tb testing.TB) *quic.Conn {
	tb.Helper()
	conn, err := p.raw(tb, nil, alpn)
	if err != nil {
		tb.Fatal(err)
	}
	control := rawStream(tb, conn, manyStreams)
	if err := errors.Join(control.Close(), expectByte(control, firstByte)); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// rawStream opens a stream and writes to it.
func rawStream(tb testing.TB, conn *quic.Conn, b ...byte) *quic.Stream {
	tb.Helper()
	str, err := tryRawStream(conn, b...)
	if err != nil {
		tb.Fatal(err)
	}
	return str
}

func tryRawStream(conn *quic.Conn, b ...byte) (*quic.Stream, error) {
	str, err := conn.OpenStream()
	if err != nil {
		return nil, err
	}
	_, err = str.Write(b)
	return str, err
}

// wantClosed waits until the peer has closed the connection.
func wantClosed(tb testing.TB, conn *quic.Conn, code quic.ApplicationErrorCode) {
	tb.Helper()
	if err := closed(conn, code, patience); err != nil {
		tb.Fatal(err)
	}
}

// closed returns an error unless the peer closes the connection in that time.
func closed(conn *quic.Conn, code quic.ApplicationErrorCode, within time.Duration) error {
	select {
	case <-conn.Context().Done():
	case <-time.After(within):
		return errors.New("the connection goes on")
	}
	err := context.Cause(conn.Context())
	if app, ok := errors.AsType[*quic.ApplicationError](err); !ok || !app.Remote || app.ErrorCode != code {
		return fmt.Errorf("the connection ended with %w, want code %d of the peer", err, code)
	}
	return nil
}

// exchange sends a byte each way.
func exchange(tb testing.TB, a, b net.Conn) {
	tb.Helper()
	if err := tryExchange(a, b); err != nil {
		tb.Fatal(err)
	}
}

func tryExchange(a, b net.Conn) error {
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		if _, err := ends[0].Write([]byte{42}); err != nil {
			return err
		}
		if got, err := readByte(ends[1]); err != nil || got != 42 {
			return fmt.Errorf("read %d, %w, want 42", got, err)
		}
	}
	return nil
}

// eventually calls f with a time limit, and doubles the limit until f succeeds:
// within a short limit a busy machine may not reach what is tested. The last limit
// is about as long as the test's patience.
func eventually(tb testing.TB, within time.Duration, try func(within time.Duration) error) {
	tb.Helper()
	for ; ; within *= 2 {
		err := try(within)
		if err == nil {
			return
		}
		if 2*within > patience {
			tb.Fatalf("with %v: %v", within, err)
		}
	}
}

// start runs f in a goroutine. Its result must be received.
func start(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return result
}

// wait receives the result of start.
func wait(tb testing.TB, what string, result <-chan error) error {
	tb.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		tb.Fatalf("%s has not ended after %v", what, patience)
		return nil
	}
}

func readAll(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	return err
}
