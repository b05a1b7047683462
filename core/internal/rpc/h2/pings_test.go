package h2_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
)

// The parts of HTTP/2 that pings need (RFC 9113, sections 3.4, 4.1, 6.5 to 6.8).
const (
	clientPreface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderSize = 9
	frameSettings   = 0x4
	framePing       = 0x6
	frameGoAway     = 0x7
	flagAck         = 0x1
	pingSize        = 8
)

// frame makes a frame of stream 0.
func frame(kind byte, size int) []byte {
	f := make([]byte, frameHeaderSize+size)
	f[2], f[3] = byte(size), kind
	return f
}

// pinger is a client that does nothing but send pings.
type pinger struct {
	conn net.Conn
	acks chan struct{} // one for each ping that was answered; closed with the connection
	away chan string   // the reason of the server, when it ends the connection
}

// read reads until the connection ends.
func (p *pinger) read() {
	defer close(p.acks)
	for {
		header := make([]byte, frameHeaderSize)
		if _, err := io.ReadFull(p.conn, header); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(append([]byte{0}, header[:3]...)))
		if _, err := io.ReadFull(p.conn, payload); err != nil {
			return
		}
		switch kind, flags := header[3], header[4]; {
		case kind == framePing && flags&flagAck != 0:
			p.acks <- struct{}{}
		case kind == frameGoAway:
			p.away <- string(payload[8:]) // after the last stream and the code
		}
	}
}

// TestPings pings as clients of gRPC do: in Go at most every 10 seconds, in
// pyvider-rpcplugin every 30, and elsewhere as often as they are configured to. A connection
// with nothing else on it must survive that, but not a flood.
func TestPings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		every time.Duration
		pings int
		away  string
	}{
		{name: "of pyvider-rpcplugin", every: 30 * time.Second, pings: 100},
		{name: "of Go", every: 10 * time.Second, pings: 100},
		{name: "impatient", every: 100 * time.Millisecond, pings: 1000},
		{name: "a flood", pings: 10, away: "too_many_pings"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ln := oneStream{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
				ln.conn <- ours
				p, err := h2.NewServer(calls.ServerConfig{
					Side:           "plugin",
					Other:          "host",
					MaxMessageSize: calls.DefaultMaxMessageSize,
					Application:    func(grpc.ServiceRegistrar) error { return nil },
				})
				if err != nil {
					t.Fatal(err)
				}
				served := make(chan error, 1)
				go func() { served <- p.Serve(streamListener{ln}) }()
				client := &pinger{conn: theirs, acks: make(chan struct{}, tt.pings), away: make(chan string, 2)}
				go client.read()
				if _, err := theirs.Write(append([]byte(clientPreface), frame(frameSettings, 0)...)); err != nil {
					t.Fatal(err)
				}
				for range tt.pings {
					if _, err := theirs.Write(frame(framePing, pingSize)); err != nil {
						break // the connection was ended, which is checked below
					}
					time.Sleep(tt.every)
				}
				synctest.Wait()
				select {
				case away := <-client.away:
					if away != tt.away {
						t.Errorf("the server ends the connection: %q, want %q", away, tt.away)
					}
				default:
					if tt.away != "" {
						t.Errorf("the server does not end the connection, want %q", tt.away)
					}
				}
				if acks := len(client.acks); tt.away == "" && acks != tt.pings {
					t.Errorf("%d of %d pings were answered", acks, tt.pings)
				}
				p.Close()
				if err := <-served; err != nil {
					t.Errorf("Serve: %v", err)
				}
				if err := theirs.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
