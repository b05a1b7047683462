// Package stdio is what a plugin prints, on both sides of go-plugin's GRPCStdio. Under a
// host on go-plugin, a plugin keeps what it prints in an [Output], which is that service.
// A host fetches the output of a plugin on go-plugin with [Fetch].
package stdio

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

const (
	// maxOutput is how many bytes of what the plugin printed are kept until its host
	// fetches them: a few screens of every start-up banner, and little beside the program
	// itself.
	maxOutput = 1 << 20
	// maxChunk is how many bytes go into one message. go-plugin's own plugins send a
	// kilobyte. Larger messages reach the host in fewer steps, which helps when it closes
	// the connection right after the last.
	maxChunk = 32 << 10
	// slowHostPatience is how long printing may block for a host that fetches too slowly. A
	// host that fetches nothing in this time counts as absent.
	slowHostPatience = time.Second
	// readTime is how long a host has to read the last message. A host on go-plugin closes
	// the connection as soon as the plugin has stopped, and drops what it has received but
	// not read by then. The plugin cannot see that. Without this pause, one stop in forty
	// lost output on two busy cores.
	readTime = 100 * time.Millisecond
)

// comingTime is how long a stop waits for a host that fetches nothing yet, if there is
// something to fetch. A host that starts a plugin, calls it and stops it at once may not have
// begun to fetch: without this wait, one such stop in thirty lost output on two busy cores.
const comingTime = 200 * time.Millisecond

// Output is what a plugin has printed and its host on go-plugin has not fetched. Printing
// never blocks on a host that fetches nothing: Output then drops the oldest bytes, and
// tells the host how many. Its methods are safe for concurrent use.
type Output struct {
	mu       sync.Mutex // guards the fields below
	chunks   []messages.StdioData
	size     int           // bytes of all chunks
	dropped  int           // bytes dropped since a host was last told
	sending  int           // messages that were taken and are not yet sent
	hosts    int           // streams of hosts that fetch
	changed  chan struct{} // closed and replaced with every change
	lastTake time.Time     // when a host last did something
	lastSent time.Time     // when a message was last sent
}

// NewOutput returns an empty Output.
func NewOutput() *Output { return &Output{changed: make(chan struct{})} }

var _ messages.Stdio = (*Output)(nil)

// Put adds what was printed. It does not keep data.
func (o *Output) Put(channel messages.Channel, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		n := min(len(data), maxChunk)
		o.makeRoom(n)
		o.append(channel, data[:n])
		data = data[n:]
	}
	o.change()
}

// makeRoom waits for a host that fetches. If no host does, makeRoom drops the oldest
// chunks. The caller holds mu.
func (o *Output) makeRoom(n int) {
	for o.size+n > maxOutput && o.hosts > 0 {
		ctx, cancel := context.WithDeadline(context.Background(), o.lastTake.Add(slowHostPatience))
		changed := o.await(ctx)
		cancel()
		if !changed {
			break
		}
	}
	for o.size+n > maxOutput {
		o.dropped += len(o.chunks[0].Data)
		o.removeFirst()
	}
}

// append joins small pieces, since a program may print byte by byte. The caller holds mu.
func (o *Output) append(channel messages.Channel, data []byte) {
	o.size += len(data)
	if last := len(o.chunks) - 1; last >= 0 {
		if c := &o.chunks[last]; c.Channel == channel && len(c.Data)+len(data) <= maxChunk {
			c.Data = append(c.Data, data...)
			return
		}
	}
	o.chunks = append(o.chunks, messages.StdioData{Channel: channel, Data: append([]byte(nil), data...)})
}

func (o *Output) removeFirst() {
	o.size -= len(o.chunks[0].Data)
	o.chunks[0] = messages.StdioData{}
	o.chunks = o.chunks[1:]
}

func (o *Output) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// Stream implements [messages.Stdio]. As with go-plugin, no other host gets what one host
// has taken.
func (o *Output) Stream(s messages.Stream) error {
	o.update(func() { o.hosts++ })
	defer o.update(func() { o.hosts-- })
	for {
		data := o.take(s.Context())
		if data == nil {
			return nil
		}
		err := s.SendMsg(data)
		o.update(func() { o.sending--; o.lastSent = o.lastTake })
		if err != nil {
			return err
		}
	}
}

// update changes the fields after a host did something.
func (o *Output) update(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastTake = time.Now()
	f()
	o.change()
}

// take waits until something was printed, and takes it. It returns nil when ctx ends. The
// caller sends what take returned, and then lowers sending.
func (o *Output) take(ctx context.Context) *messages.StdioData {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.chunks) == 0 {
		if !o.await(ctx) {
			return nil
		}
	}
	o.sending++
	if o.dropped > 0 {
		note := fmt.Sprintf("\n[%d bytes of the plugin's output were dropped here, because its host did not fetch them]\n", o.dropped)
		o.dropped = 0
		return &messages.StdioData{Channel: messages.Stderr, Data: []byte(note)}
	}
	data := o.chunks[0]
	o.removeFirst()
	o.change() // there is room
	return &data
}

// await waits for a change, and reports false when ctx ends first. The caller holds mu,
// which await unlocks meanwhile.
func (o *Output) await(ctx context.Context) bool {
	changed := o.changed
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// Flush waits until a host was sent everything and had time to read it. It returns early
// when no host fetches, or when ctx ends.
func (o *Output) Flush(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	coming, cancel := context.WithTimeout(ctx, comingTime)
	for o.hosts == 0 && len(o.chunks) > 0 && o.await(coming) {
	}
	cancel()
	for o.hosts > 0 && ctx.Err() == nil {
		if len(o.chunks) > 0 || o.sending > 0 {
			o.await(ctx)
			continue
		}
		read := o.lastSent.Add(readTime)
		if !time.Now().Before(read) {
			return
		}
		reading, cancel := context.WithDeadline(ctx, read)
		o.await(reading)
		cancel()
	}
}

// Rest takes what no host has fetched.
func (o *Output) Rest() []messages.StdioData {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := o.chunks
	o.chunks, o.size = nil, 0
	return rest
}
