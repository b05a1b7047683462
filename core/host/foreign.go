package host

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// foreignAddress returns what a foreign plugin's address means, in the syntax of the
// transport. go-plugin's hosts take more than that: a path is relative to the plugin's
// working directory if TMPDIR is, and a TCP address may have names
// (net.ResolveUnixAddr and net.ResolveTCPAddr in client.go there).
func foreignAddress(ctx context.Context, network, address, dir string) (string, error) {
	switch {
	case network == "unix" && !filepath.IsAbs(address) && !strings.HasPrefix(address, "@"):
		return filepath.Abs(filepath.Join(dir, address))
	case network == "tcp":
		return resolveTCP(ctx, address)
	default:
		return address, nil
	}
}

// resolveTCP returns the IP address and port. An unspecified address of a listener is
// reached by the loopback. An address without a port is returned unchanged: the
// transport says what is wrong with it.
func resolveTCP(ctx context.Context, address string) (string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return address, nil //nolint:nilerr // the transport refuses it
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return "", fmt.Errorf("the port of the plugin's address %q: %w", address, err)
	}
	ip, err := lookUp(ctx, cmp.Or(host, "0.0.0.0"))
	if err != nil {
		return "", fmt.Errorf("the plugin's address %q: %w", address, err)
	}
	switch ip {
	case netip.IPv4Unspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(port)), nil
}

// lookUp returns the address of a name, an IPv4 one if there is one, as net does.
func lookUp(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip, nil
		}
	}
	if len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("%q has no address", host)
	}
	return ips[0], nil
}
