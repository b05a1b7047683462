package quic

import (
	"bytes"
	"log"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
)

// The given logger warns the operator about small buffers, once.
func TestWarnOfSmallBuffers(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadBuffer(1 << 16); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bufferSizes(socket); err != nil {
		t.Skip("the size of buffers is not known here:", err)
	}
	warned = sync.Once{}
	t.Cleanup(func() { warned = sync.Once{} })

	warnOfSmallBuffers(socket, nil)
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	for range 2 {
		warnOfSmallBuffers(socket, logger)
	}
	if got := logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "sysctl -w") {
		t.Errorf("logged %q, want one warning with its remedy", got)
	}
}

// quic-go would write a line of its own about small buffers.
func TestQuicGoIsSilent(t *testing.T) {
	var logged bytes.Buffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	before := os.Environ()
	silence()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	// quic-go cannot set the buffers of this socket at all.
	if err := (&quic.Transport{Conn: struct{ net.PacketConn }{socket}}).Close(); err != nil {
		t.Error(err)
	}
	if logged.Len() > 0 {
		t.Errorf("it logged %q", &logged)
	}
	if after := os.Environ(); len(after) != len(before) {
		t.Errorf("the environment has %d variables, want still %d", len(after), len(before))
	}
}
