package tcp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
)

// listen returns a *net.TCPListener.
func listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr.String())
}

// listenInRange listens on the first port that is available. It begins at a
// random one.
func listenInRange(ctx context.Context, ip netip.Addr, minPort, maxPort int) (net.Listener, error) {
	if minPort < 0 || minPort > maxPort || maxPort > math.MaxUint16 {
		return nil, fmt.Errorf("tcp: the host asks for a port from %d to %d, which is not a range of ports", minPort, maxPort)
	}
	n := maxPort - minPort + 1
	first := rand.IntN(n) //nolint:gosec // it spreads the ports, it does not hide them
	var last error
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("tcp: listen: %w", err)
		}
		port := minPort + (first+i)%n
		ln, err := listen(ctx, netip.AddrPortFrom(ip, uint16(port))) //nolint:gosec // it was checked above
		if err == nil {
			return ln, nil
		}
		if !unavailable(err) {
			return nil, fmt.Errorf("tcp: %w", err)
		}
		last = err
	}
	return nil, fmt.Errorf("tcp: none of the ports %d to %d is available: %w: stop a program that uses one of them, let the host ask for more, or give WithListenAddress a port", minPort, maxPort, last)
}

// unavailable reports whether err says that a port is in use or reserved:
// another port may be free.
func unavailable(err error) bool {
	return errors.Is(err, errInUse) || errors.Is(err, errForbidden)
}
