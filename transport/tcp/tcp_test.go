package tcp_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/core/transport/transporttest"
	"github.com/plugwire/plugwire/transport/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	transporttest.Run(t, func() *tcp.Transport { return tcp.New() })
}

func TestConformanceIPv6(t *testing.T) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no loopback of IPv6: %v", err)
	}
	probe.Close()
	transporttest.Run(t, func() *tcp.Transport { return tcp.New(tcp.WithListenAddress("[::1]:0")) })
}

// listen opens a listener that is closed when the test ends, and returns its
// address.
func listen(tb testing.TB, cfg transport.ListenConfig, opts ...tcp.Option) (net.Listener, netip.AddrPort) {
	tb.Helper()
	cfg.Version = 1
	ln, err := tcp.New(opts...).Listen(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln, netip.MustParseAddrPort(ln.Addr().String())
}

func refused(tb testing.TB, cfg transport.ListenConfig, opts ...tcp.Option) error {
	tb.Helper()
	cfg.Version = 1
	ln, err := tcp.New(opts...).Listen(tb.Context(), cfg)
	if err == nil {
		ln.Close()
		tb.Fatalf("no error, but a listener at %s", ln.Addr())
	}
	return err
}

func assertSays(tb testing.TB, err error, words ...string) {
	tb.Helper()
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			tb.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func TestListensOnLoopback(t *testing.T) {
	_, addr := listen(t, transport.ListenConfig{})
	if addr.Addr() != netip.MustParseAddr("127.0.0.1") || addr.Port() == 0 {
		t.Errorf("listens at %s, want a port of 127.0.0.1", addr)
	}
}

func TestListensAtGivenAddress(t *testing.T) {
	port, _ := freeRange(t, 1)
	want := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
	// The host's range does not matter to a port that the plugin sets.
	if _, got := listen(t, transport.ListenConfig{MinPort: 1, MaxPort: 2}, tcp.WithListenAddress(want.String())); got != want {
		t.Errorf("listens at %s, want %s", got, want)
	}
}

// freeRange returns n ports of 127.0.0.1 in a row, each free a moment ago.
func freeRange(tb testing.TB, n int) (minPort, maxPort int) {
	tb.Helper()
	const lowest, ports = 20000, 10000 // below those that systems choose
	for range ports {
		minPort := lowest + rand.IntN(ports-n)
		free := 0
		for port := minPort; port < minPort+n; port++ {
			ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			if err != nil {
				break
			}
			ln.Close()
			free++
		}
		if free == n {
			return minPort, minPort + n - 1
		}
	}
	tb.Fatalf("no %d free ports in a row", n)
	return 0, 0
}

// Every port of a range is used, also with a port 0 of the plugin's own. Then
// the error names the ports that were tried.
func TestRange(t *testing.T) {
	const n = 8
	minPort, maxPort := freeRange(t, n)
	cfg := transport.ListenConfig{MinPort: minPort, MaxPort: maxPort}
	taken := make(map[int]bool)
	for i := range n {
		var opts []tcp.Option
		if i%2 == 1 {
			opts = append(opts, tcp.WithListenAddress("127.0.0.1:0"))
		}
		_, addr := listen(t, cfg, opts...)
		port := int(addr.Port())
		if port < minPort || port > maxPort || taken[port] {
			t.Fatalf("port %d, want one of %d to %d, and none of %v", port, minPort, maxPort, taken)
		}
		taken[port] = true
	}
	assertSays(t, refused(t, cfg),
		fmt.Sprintf("none of the ports %d to %d is available", minPort, maxPort), "in use", "let the host ask for more")
}

// Plugins that start together would otherwise all try the same ports.
func TestRangeIsSearchedFromRandomPort(t *testing.T) {
	minPort, maxPort := freeRange(t, 8)
	seen := make(map[uint16]bool)
	for range 100 { // without the random start; by chance once in 8^99 runs
		ln, addr := listen(t, transport.ListenConfig{MinPort: minPort, MaxPort: maxPort})
		ln.Close()
		seen[addr.Port()] = true
	}
	if len(seen) == 1 {
		t.Errorf("every search began at port %v", seen)
	}
}

func TestRangeFromZeroIsTheSystemsChoice(t *testing.T) {
	for _, maxPort := range []int{0, 1} {
		if _, addr := listen(t, transport.ListenConfig{MaxPort: maxPort}); addr.Port() <= 1 {
			t.Errorf("0 to %d: port %d", maxPort, addr.Port())
		}
	}
}

// An address that is not valid is so at every port.
func TestRangeSearchEndsWithOtherErrors(t *testing.T) {
	// An address for documentation, which no machine has.
	err := refused(t, transport.ListenConfig{MinPort: 10000, MaxPort: 25000}, tcp.WithListenAddress("192.0.2.1:0"))
	var opErr *net.OpError
	if !errors.As(err, &opErr) || strings.Contains(err.Error(), "none of the ports") {
		t.Errorf("the error is %v, want that of one attempt", err)
	}
	assertSays(t, err, "192.0.2.1:")
}

func TestRangeSearchEndsWithContext(t *testing.T) {
	minPort, maxPort := freeRange(t, 2)
	cfg := transport.ListenConfig{MinPort: minPort, MaxPort: maxPort}
	for range 2 {
		listen(t, cfg)
	}
	cfg.Version = 1
	// Listen checks the context before the search, then before the first port.
	ctx := &endsAfter{Context: t.Context(), looks: 2}
	if _, err := tcp.New().Listen(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v, want context.Canceled", err)
	}
}

// endsAfter is a context that ends after a number of calls of Err.
type endsAfter struct {
	context.Context //nolint:containedctx // it is one
	looks           int
}

func (c *endsAfter) Err() error {
	if c.looks == 0 {
		return context.Canceled
	}
	c.looks--
	return nil
}

func TestListenErrors(t *testing.T) {
	_, addr := listen(t, transport.ListenConfig{})
	tests := []struct {
		name    string
		address string
		cfg     transport.ListenConfig
		want    []string
	}{
		{
			name: "port in use", address: addr.String(),
			want: []string{fmt.Sprintf("port %d is not available", addr.Port()), "in use", "give WithListenAddress another port, or 0"},
		},
		{name: "range backwards", cfg: transport.ListenConfig{MinPort: 7, MaxPort: 5}, want: []string{"a port from 7 to 5"}},
		{name: "range without end", cfg: transport.ListenConfig{MinPort: 7}, want: []string{"a port from 7 to 0"}},
		{name: "range below 0", cfg: transport.ListenConfig{MinPort: -7, MaxPort: 5}, want: []string{"a port from -7 to 5"}},
		{name: "range too high", cfg: transport.ListenConfig{MinPort: 7, MaxPort: 1 << 16}, want: []string{"a port from 7 to 65536"}},
		{name: "no port", address: "127.0.0.1", want: []string{"WithListenAddress", "not an IP address and a port"}},
		{name: "no address", address: ":7000", want: []string{"not an IP address and a port"}},
		{name: "nothing", address: " ", want: []string{`" " is not an IP address and a port`}},
		{name: "name", address: "localhost:7000", want: []string{"not an IP address and a port"}},
		{name: "IPv6 without brackets", address: "::1:7000", want: []string{"not an IP address and a port"}},
		{name: "port too high", address: "127.0.0.1:65536", want: []string{"not an IP address and a port"}},
		{name: "zone", address: "[fe80::1%lo]:0", want: []string{"has a zone"}},
		{name: "every address", address: "0.0.0.0:0", want: []string{"not an address of one machine"}},
		{name: "every address of IPv6", address: "[::]:0", want: []string{"not an address of one machine"}},
		{name: "every address in disguise", address: "[::ffff:0.0.0.0]:0", want: []string{"not an address of one machine"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var opts []tcp.Option
			if test.address != "" {
				opts = append(opts, tcp.WithListenAddress(test.address))
			}
			assertSays(t, refused(t, test.cfg, opts...), test.want...)
		})
	}
}

func TestDialErrors(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:0":             "port 0",
		"localhost:7000":          "is not an IP address and a port",
		"plugin.example:7000":     "is not an IP address and a port",
		"127.0.0.1:http":          "is not an IP address and a port",
		"127.1:7000":              "is not an IP address and a port",
		"2130706433:7000":         "is not an IP address and a port",
		"0177.0.0.1:7000":         "is not an IP address and a port",
		"::1:7000":                "is not an IP address and a port",
		"127.0.0.1:+7000":         "is not an IP address and a port",
		"127.0.0.1:7000/":         "is not an IP address and a port",
		"user@127.0.0.1:7000":     "is not an IP address and a port",
		"[fe80::1%eth0]:7000":     "has a zone",
		"[::1%0]:7000":            "has a zone",
		"0.0.0.0:7000":            "not an address of one machine",
		"[::]:7000":               "not an address of one machine",
		"[::ffff:0.0.0.0]:7000":   "not an address of one machine",
		"127.0.0.1:7000\x00":      `holds '\x00'`,
		strings.Repeat("1", 2000): "at most 1024 are allowed",
	} {
		conn, err := tcp.New().Dial(t.Context(), transport.DialConfig{Version: 1, Address: address})
		if err == nil {
			conn.Close()
			t.Errorf("Dial(%q): no error", address)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(%q): %v, want %q", address, err, want)
		}
	}
}

// The session works on the socket itself, so it needs the type.
func TestConnectionsAreTCPConns(t *testing.T) {
	ln, addr := listen(t, transport.ListenConfig{})
	// The host's options are not the plugin's.
	dialed, err := tcp.New(tcp.WithListenAddress("")).Dial(t.Context(), transport.DialConfig{Version: 1, Address: addr.String()})
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	if _, ok := dialed.(*net.TCPConn); !ok {
		t.Errorf("Dial returned a %T, want a *net.TCPConn", dialed)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, ok := accepted.(*net.TCPConn); !ok {
		t.Errorf("Accept returned a %T, want a *net.TCPConn", accepted)
	}
}
