package quic

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// coalescing is a socket from which the system delivers packets of one sender
// that arrive together as one packet (UDP_GRO). The system then does its work
// for each packet only once, above all on loopback, where they were sent as
// one. quic-go sends such packets itself, and receives them through ReadBatch.
type coalescing struct {
	peer

	// Only the goroutine of quic-go that reads uses these fields.
	buf     [maxCoalesced]byte
	oob     [128]byte // as much as quic-go has room for
	rest    []byte    // part of buf: packets that ReadBatch has not returned yet
	size    int       // size of each packet in rest except the last
	control []byte    // part of oob: the control messages for all packets
	from    *net.UDPAddr
	source  netip.AddrPort // same address as from
}

// maxCoalesced is how many bytes the system puts together at most.
const maxCoalesced = 1 << 16

// coalesce lets the system put packets together, if it can.
func coalesce(p peer) net.PacketConn {
	raw, err := p.SyscallConn()
	if err != nil {
		return p
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1)
	})
	if err != nil || optErr != nil {
		return p
	}
	return &coalescing{peer: p}
}

// ReadBatch is called by quic-go, which else would read packets itself.
func (c *coalescing) ReadBatch(ms []ipv4.Message, _ int) (int, error) {
	for len(c.rest) == 0 { // skips empty packets
		n, oobn, _, source, err := c.ReadMsgUDPAddrPort(c.buf[:], c.oob[:])
		if err != nil {
			return 0, err
		}
		if source != c.source {
			c.source, c.from = source, net.UDPAddrFromAddrPort(source)
		}
		c.rest, c.control = c.buf[:n], c.oob[:oobn]
		c.size = segmentSize(c.control, n)
	}
	i := 0
	for ; i < len(ms) && len(c.rest) > 0; i++ {
		n := min(c.size, len(c.rest))
		m := &ms[i]
		m.N = copy(m.Buffers[0], c.rest[:n])
		m.NN = copy(m.OOB, c.control)
		m.Addr = c.from
		c.rest = c.rest[n:]
	}
	return i, nil
}

func segmentSize(control []byte, all int) int {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		if header.Level == unix.SOL_UDP && header.Type == unix.UDP_GRO && len(data) >= 4 {
			if n := binary.NativeEndian.Uint32(data); n > 0 && n < maxCoalesced {
				return int(n)
			}
		}
		control = rest
	}
	return all
}
