package goplugin

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

// Address returns what the address of a plugin on go-plugin means, in the syntax of the
// transport. Hosts on go-plugin accept more than a transport does (net.ResolveUnixAddr and
// net.ResolveTCPAddr in client.go). If the plugin's TMPDIR is relative, so is a path: to
// dir, the plugin's working directory. A TCP address may have names.
func Address(ctx context.Context, network, address, dir string) (string, error) {
	switch {
	case network == "unix" && !filepath.IsAbs(address) && !strings.HasPrefix(address, "@"):
		return filepath.Abs(filepath.Join(dir, address))
	case network == "tcp":
		return resolveTCP(ctx, address)
	default:
		return address, nil
	}
}

// resolveTCP returns the IP address and port. For the unspecified address it returns the
// loopback, which reaches a listener there. It returns an address without a port
// unchanged: the transport explains what is wrong with it.
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

// lookUp returns the address of a name: as net does, an IPv4 address if there is one.
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
