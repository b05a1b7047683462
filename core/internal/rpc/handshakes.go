package rpc

import (
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// maxPending bounds the connections that have been accepted and not yet said
// who they are. A host opens a handful; the bound is for whoever else can reach
// the address.
const maxPending = 64

// handshakes are credentials that know which connections have not yet said who
// they are: to bound them, and because grpc waits for these when it stops, for
// as long as connectTimeout. close ends them, so that a silent connection does
// not hold a shutdown up.
type handshakes struct {
	credentials.TransportCredentials

	mu      sync.Mutex // guards the fields below
	pending map[net.Conn]struct{}
	closed  bool
}

func newHandshakes(inner credentials.TransportCredentials) *handshakes {
	return &handshakes{TransportCredentials: inner, pending: make(map[net.Conn]struct{})}
}

// ServerHandshake implements [credentials.TransportCredentials].
func (h *handshakes) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := h.begin(conn); err != nil {
		return nil, nil, err
	}
	defer h.end(conn)
	return h.TransportCredentials.ServerHandshake(conn)
}

func (h *handshakes) begin(conn net.Conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return net.ErrClosed
	case len(h.pending) == maxPending:
		return fmt.Errorf("more than %d connections are waiting to say who they are", maxPending)
	}
	h.pending[conn] = struct{}{}
	return nil
}

func (h *handshakes) end(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pending, conn)
}

// Clone implements [credentials.TransportCredentials].
func (h *handshakes) Clone() credentials.TransportCredentials { return h }

// close ends the handshakes that are under way, and those to come.
func (h *handshakes) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for conn := range h.pending {
		_ = conn.Close() // grpc closes it again, and has nobody to tell either
	}
}
