package rpc

import (
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// handshakes are credentials that know which connections have not yet said who
// they are. grpc waits for these when it stops, for as long as connectTimeout;
// close ends them, so that a silent connection does not hold a shutdown up.
type handshakes struct {
	credentials.TransportCredentials

	mu      sync.Mutex // guards the fields below
	pending map[net.Conn]struct{}
	closed  bool
}

// ServerHandshake implements [credentials.TransportCredentials].
func (h *handshakes) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, nil, net.ErrClosed
	}
	h.pending[conn] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.pending, conn)
	}()
	return h.TransportCredentials.ServerHandshake(conn)
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
