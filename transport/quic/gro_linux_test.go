package quic

import (
	"bytes"
	"net"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// sender returns a socket that sends to receiver. If size is not 0, the system
// cuts what it sends into packets of that size.
func sender(t *testing.T, receiver *net.UDPConn, size int) *net.UDPConn {
	t.Helper()
	s, err := net.DialUDP("udp4", nil, receiver.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size)
	})
	if err != nil {
		t.Fatal(err)
	}
	if optErr != nil {
		t.Skip("this system does not cut what is sent:", optErr)
	}
	return s
}

// ReadBatch returns packets that arrive together one by one, also in several
// calls.
func TestReadBatch(t *testing.T) {
	receiver, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	c, ok := coalesce(peer{receiver, false}).(*coalescing)
	if !ok {
		t.Skip("this system does not put packets together")
	}
	const size = 1000
	sent := make([]byte, 4*size+10)
	for i := range sent {
		sent[i] = byte(i / 100)
	}
	cutting, whole := sender(t, receiver, size), sender(t, receiver, 0)
	if _, err := cutting.Write(sent); err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Write(sent[:2*size]); err != nil { // one packet, longer than a buffer
		t.Fatal(err)
	}

	var got []byte
	var sizes []int
	for len(sizes) < 6 {
		ms := make([]ipv4.Message, 3)
		for i := range ms {
			ms[i].Buffers = [][]byte{make([]byte, loopbackPacketSize)}
			ms[i].OOB = make([]byte, 128)
		}
		n, err := c.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			got = append(got, m.Buffers[0][:m.N]...)
			sizes = append(sizes, m.N)
			from := cutting.LocalAddr()
			if len(sizes) == 6 {
				from = whole.LocalAddr()
			}
			if m.Addr.String() != from.String() {
				t.Errorf("packet %d is from %v, want %v", len(sizes), m.Addr, from)
			}
		}
	}
	for i, want := range []int{size, size, size, size, 10, loopbackPacketSize} {
		if sizes[i] != want {
			t.Errorf("packet %d has %d bytes, want %d", i, sizes[i], want)
		}
	}
	if !bytes.Equal(got[:len(sent)], sent) {
		t.Error("the packets have other bytes than were sent")
	}
}

func FuzzSegmentSize(f *testing.F) {
	f.Add([]byte{}, 10)
	f.Add([]byte("\x14\x00\x00\x00\x00\x00\x00\x00\x11\x00\x00\x00\x68\x00\x00\x00\xe8\x03\x00\x00\x00\x00\x00\x00"), 5000) // 1000
	f.Fuzz(func(t *testing.T, control []byte, all int) {
		if n := segmentSize(control, all); n < 1 && n != all {
			t.Errorf("segments of %d bytes", n)
		}
	})
}
