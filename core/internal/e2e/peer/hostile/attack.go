package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// attacker makes the attack on the stream for callbacks when its host calls it. The
// message has the number of calls that must end.
type attacker struct {
	echopb.UnimplementedEchoServer
	attack    string
	callbacks <-chan net.Conn
}

// calls is how many calls are opened, and heavyCalls how many with much metadata.
const (
	calls      = 3000
	heavyCalls = 300
)

// messages is how many of them announce a large message, and messageSize how large.
const (
	messages    = 40
	messageSize = 16 << 20
)

// Unary implements the echo service.
func (a *attacker) Unary(ctx context.Context, req *echopb.Payload) (*echopb.Payload, error) {
	data, err := attack(ctx, <-a.callbacks, a.attack, string(req.GetData()))
	return &echopb.Payload{Data: data}, err
}

// attack makes an attack on a new connection. It returns the result when the given
// number of calls have ended.
func attack(ctx context.Context, conn net.Conn, name, ended string) ([]byte, error) {
	enough, err := strconv.Atoi(ended)
	if err != nil {
		return nil, err
	}
	c, err := newClient(conn)
	if err != nil {
		return nil, err
	}
	switch name {
	case "calls":
		for range calls {
			c.call("Chat")
		}
	case "metadata":
		much := make([]hpack.HeaderField, 330)
		for i := range much { // every field except the first is one byte, and the host decodes each
			much[i] = hpack.HeaderField{Name: "x-bin", Value: strings.Repeat("x", 3<<10)}
		}
		for range heavyCalls {
			c.call("Chat", much...)
		}
	case "unread":
		for range calls {
			c.data(c.call("Chat"), prefix(c.window), int(c.window))
		}
	case "messages":
		var all sync.WaitGroup
		for range messages {
			stream := c.call("Unary")
			all.Go(func() { c.data(stream, prefix(messageSize), messageSize) }) // the message lacks a few bytes
		}
		all.Wait()
	default:
		return nil, fmt.Errorf("attack %q is not known", name)
	}
	results, err := c.settle(ctx, enough)
	if err != nil {
		return nil, err
	}
	return json.Marshal(results)
}

// prefix begins a message.
func prefix(size uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0}, size) }

// client is a client that speaks HTTP/2 by hand. It respects only one limit, the window
// of a stream, because otherwise the host ends the stream.
type client struct {
	framer  *http2.Framer
	window  uint32 // window of a stream, as set by the host
	block   bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32

	mu      sync.Mutex // guards the fields below, and writing
	err     error
	windows map[uint32]int64 // windows of the open streams
	results map[string]int
	ended   int
	changed chan struct{} // closed and replaced with every change
	settled chan struct{} // closed when the host has received everything
}

func newClient(conn net.Conn) (*client, error) {
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	c := &client{framer: http2.NewFramer(conn, conn), windows: make(map[uint32]int64), results: make(map[string]int), changed: make(chan struct{}), settled: make(chan struct{})}
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := c.framer.WriteSettings(); err != nil {
		return nil, err
	}
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return nil, err
	}
	if settings, ok := frame.(*http2.SettingsFrame); ok {
		c.window, _ = settings.Value(http2.SettingInitialWindowSize)
	}
	err = c.framer.WriteSettingsAck()
	go c.read()
	return c, err
}

// read counts the calls that end, by their status.
func (c *client) read() {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamEnded() {
				c.count(frame.StreamID, result(frame.Fields))
			}
		case *http2.RSTStreamFrame:
			c.count(frame.StreamID, "reset "+frame.ErrCode.String())
		case *http2.WindowUpdateFrame:
			c.change(func() {
				if window, ok := c.windows[frame.StreamID]; ok {
					c.windows[frame.StreamID] = window + int64(frame.Increment)
				}
			})
		case *http2.PingFrame:
			if frame.IsAck() {
				close(c.settled)
			}
		}
	}
}

func result(fields []hpack.HeaderField) string {
	var status, text string
	for _, f := range fields {
		switch f.Name {
		case "grpc-status":
			status = f.Value
		case "grpc-message":
			text = f.Value
		}
	}
	return status + " " + text
}

// count counts the end of a stream, once.
func (c *client) count(stream uint32, result string) {
	c.change(func() {
		if _, ok := c.windows[stream]; ok {
			delete(c.windows, stream)
			c.results[result]++
			c.ended++
		}
	})
}

func (c *client) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// call opens a call.
func (c *client) call(method string, fields ...hpack.HeaderField) (stream uint32) {
	if c.stream++; c.stream%2 == 0 {
		c.stream++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.windows[c.stream] = int64(c.window)
	c.block.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/plugwire.e2e.Echo/" + method},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
	}, fields...) {
		c.err = errors.Join(c.err, c.encoder.WriteField(f))
	}
	if c.err == nil {
		c.err = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.block.Bytes(), EndHeaders: true})
	}
	return c.stream
}

// data sends first, and then zeros, up to size bytes in all, or until the stream has
// ended.
func (c *client) data(stream uint32, first []byte, size int) {
	piece := append(first, make([]byte, 16<<10)...)[:16<<10]
	for size > 0 {
		c.mu.Lock()
		window, open := c.windows[stream]
		n := int(min(int64(size), window, int64(len(piece))))
		changed := c.changed
		if !open || c.err != nil {
			c.mu.Unlock()
			return
		}
		if n > 0 {
			c.err = c.framer.WriteData(stream, false, piece[:n])
			c.windows[stream] -= int64(n)
		}
		c.mu.Unlock()
		if n <= 0 {
			<-changed
			continue
		}
		size -= n
		piece = make([]byte, 16<<10)
	}
}

// settle waits until the host has received everything and the given number of calls
// have ended. It returns how many calls ended with each status.
func (c *client) settle(ctx context.Context, ended int) (map[string]int, error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = c.framer.WritePing(false, [8]byte{1})
	}
	c.mu.Unlock()
	select {
	case <-c.settled:
	case <-ctx.Done():
	}
	for {
		c.mu.Lock()
		enough, results, changed, err := c.ended >= ended, maps.Clone(c.results), c.changed, c.err
		c.mu.Unlock()
		if enough || err != nil {
			return results, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return results, nil
		}
	}
}
