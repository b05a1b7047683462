//go:build linux

package e2e_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// occupy takes a port of the sort that a transport needs, on the loopback
// address of IPv4.
func occupy(tb testing.TB, transport string) (address string) {
	tb.Helper()
	var taken io.Closer
	if transport == "tcp" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		taken, address = ln, ln.Addr().String()
	} else {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		taken, address = socket, socket.LocalAddr().String()
	}
	tb.Cleanup(func() {
		if err := taken.Close(); err != nil {
			tb.Error(err)
		}
	})
	return address
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tcp", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := occupy(t, name)
			cmd := command("matrix-plugin", "-transports", name, "-listen", address)
			e := startError(testContext(t), t, cmd, host.WithProtocols(matrix.Protocol), host.WithTransports(ways.All()...))
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			if e.Phase != host.PhaseHandshake {
				t.Errorf("phase %s, want %s", e.Phase, host.PhaseHandshake)
			}
			assertSays(t, e.Error(), name+"/1", "address already in use", port)

			// If there is another transport, the plugin uses that.
			p := launchMatrixCmd(t, command("matrix-plugin", "-transports", "unix,"+name, "-listen", address),
				host.WithTransports(ways.Named(name), ways.Named("unix")))
			if _, err := p.Unary(testContext(t), &echopb.Payload{}); err != nil {
				t.Error(err)
			}
			info := p.Info()
			if info.Transport.String() != "unix/1" {
				t.Errorf("the transport is %s", info.Transport)
			}
			assertSays(t, info.Skipped, name+"/1", "address already in use", port)
		})
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("skipped, as this machine has no ::1: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tcp", "quic"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dialed string
			p := launchMatrixCmd(t, command("matrix-plugin", "-transports", name, "-listen", "[::1]:0"),
				host.WithTransports(ways.Named(name)),
				host.WithTrace(&host.Trace{Dial: func(e host.DialEvent) { dialed = e.Address }}))
			for _, data := range payloads() {
				if got, err := p.Unary(testContext(t), &echopb.Payload{Data: data}); err != nil || len(got.GetData()) != len(data) {
					t.Errorf("%d bytes: got %d, %v", len(data), len(got.GetData()), err)
				}
			}
			if !strings.HasPrefix(dialed, "[::1]:") {
				t.Errorf("the host dialed %s", dialed)
			}
		})
	}
}
