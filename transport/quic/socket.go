package quic

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/quic-go/quic-go"
)

// wantedBuffer is the size of the buffer that quic-go asks the system for, for
// each direction of a socket.
const wantedBuffer = 7 << 20

// peer is a socket that quic-go uses. quic-go names the receiver with each
// packet, which a connected socket refuses.
//
// The system tells a connected socket at once that no process listens. Any
// other socket would wait for the handshake's timeout.
type peer struct {
	*net.UDPConn
	connected bool
}

var _ quic.OOBCapablePacketConn = peer{}

// WriteMsgUDP implements [quic.OOBCapablePacketConn].
func (p peer) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if p.connected {
		to = nil
	}
	return p.UDPConn.WriteMsgUDP(b, oob, to)
}

// WriteTo implements [net.PacketConn].
func (p peer) WriteTo(b []byte, to net.Addr) (int, error) {
	if p.connected {
		return p.Write(b)
	}
	return p.UDPConn.WriteTo(b, to)
}

// enlargeBuffers prepares a socket for quic-go.
func enlargeBuffers(socket *net.UDPConn) {
	// The call to bufferSizes shows what the system allowed.
	_ = socket.SetReadBuffer(wantedBuffer)
	_ = socket.SetWriteBuffer(wantedBuffer)
	if read, write, err := bufferSizes(socket); err == nil && min(read, write) < wantedBuffer {
		silence()
	}
}

// silence keeps quic-go from writing to the standard logger that a buffer is
// small, which quic-go does once in a process unless this variable is set.
// There is no other way to switch it off.
var silence = sync.OnceFunc(func() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, ok := os.LookupEnv(name); ok {
		return // the user's setting stays
	}
	socket, err := listenUDP(context.Background(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
	if err != nil {
		return // quic-go then writes its line
	}
	defer func() { _ = socket.Close() }() // nothing was sent, so nothing is lost
	if err := os.Setenv(name, "true"); err != nil {
		return
	}
	// quic-go always warns about a socket whose buffers it cannot set. Here it
	// uses up its one warning while the variable silences it.
	_ = (&quic.Transport{Conn: struct{ net.PacketConn }{socket}}).Close()
	_ = os.Unsetenv(name)
})

// warned is done when this process has warned about small buffers.
var warned sync.Once

// warnOfSmallBuffers warns once. Call it after quic-go has tried to enlarge the
// buffers.
func warnOfSmallBuffers(socket *net.UDPConn, logger *slog.Logger) {
	if logger == nil {
		return
	}
	read, write, err := bufferSizes(socket)
	if err != nil || min(read, write) >= wantedBuffer {
		return
	}
	warned.Do(func() {
		logger.Warn("quic: the system allows small UDP buffers only: packets are lost and sent again when much is transferred at once",
			"receive", read, "send", write, "wanted", wantedBuffer, "remedy", buffersRemedy)
	})
}
