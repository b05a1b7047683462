package quic

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/plugwire/plugwire/core/transport"
)

// overEach runs a benchmark over QUIC and, to compare with, over TLS on TCP.
// The ends of the connection are closed when the benchmark ends.
func overEach(b *testing.B, f func(b *testing.B, dialed, accepted net.Conn)) {
	b.Helper()
	for _, over := range []struct {
		name string
		pair func(*testing.B) (dialed, accepted net.Conn)
	}{{"quic", quicPair}, {"tcp+tls", tlsOverTCPPair}} {
		b.Run(over.name, func(b *testing.B) {
			dialed, accepted := over.pair(b)
			b.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
			f(b, dialed, accepted)
		})
	}
}

func quicPair(b *testing.B) (dialed, accepted net.Conn) {
	b.Helper()
	plugin, host := tlsPair(b)
	tr := New()
	ln, err := tr.Listen(b.Context(), transport.ListenConfig{Version: 1, TLS: plugin})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	session, err := tr.DialSession(b.Context(), transport.DialConfig{Version: 1, Address: ln.Addr().String(), TLS: host})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { session.Close() })
	if dialed, err = session.OpenStream(b.Context()); err != nil {
		b.Fatal(err)
	}
	if accepted, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	return dialed, accepted
}

func tlsOverTCPPair(b *testing.B) (dialed, accepted net.Conn) {
	b.Helper()
	plugin, host := tlsPair(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	result := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			server := tls.Server(conn, plugin)
			accepted, err = server, server.HandshakeContext(b.Context())
		}
		result <- err
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	client := tls.Client(conn, host)
	if err := errors.Join(client.HandshakeContext(b.Context()), <-result); err != nil {
		b.Fatal(err)
	}
	return client, accepted
}

func BenchmarkStream64KiB(b *testing.B) {
	const size = 64 << 10
	overEach(b, func(b *testing.B, to, from net.Conn) {
		b.Helper()
		b.SetBytes(size)
		b.ReportAllocs()
		received := make(chan error, 1)
		go func() {
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, from, make([]byte, size))
			received <- err
		}()
		chunk := make([]byte, size)
		for b.Loop() {
			if _, err := to.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(to.(interface{ CloseWrite() error }).CloseWrite(), <-received); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkPingPong64B(b *testing.B) {
	const size = 64
	overEach(b, func(b *testing.B, dialed, accepted net.Conn) {
		b.Helper()
		b.ReportAllocs()
		echoed := make(chan error, 1)
		go func() {
			_, err := io.CopyBuffer(struct{ io.Writer }{accepted}, struct{ io.Reader }{accepted}, make([]byte, size))
			echoed <- err
		}()
		buf := make([]byte, size)
		for b.Loop() {
			if _, err := dialed.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(dialed, buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(dialed.(interface{ CloseWrite() error }).CloseWrite(), <-echoed); err != nil {
			b.Fatal(err)
		}
	})
}
