package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/internal/goplugin/messages"
)

const (
	// maxOutput is how much of what the plugin has printed, in bytes, is kept
	// until its host fetches it: a few screens of every start-up banner, and
	// little beside the program itself.
	maxOutput = 1 << 20
	// maxChunk is how much of it goes into one message. go-plugin's own plugins
	// send a kilobyte; larger ones reach the host in fewer steps, which counts
	// when it closes the connection right after the last.
	maxChunk = 32 << 10
	// outputPatience is how long the plugin's printing may wait for a host that
	// fetches, but not fast enough. One that takes nothing in that time is as good
	// as none.
	outputPatience = time.Second
	// readTime is how long a host has to read what it was sent last. One on
	// go-plugin closes the connection as soon as the plugin has stopped, and drops
	// what it has received and not read by then, of which nothing tells the plugin:
	// without this, a stop in forty lost something, on two busy cores.
	readTime = 100 * time.Millisecond
)

// Output is what a plugin has printed and its host, which is on go-plugin, has
// not fetched. Who prints never waits for a host that fetches nothing: then the
// oldest is dropped, and the host is told how much. Its methods are safe for
// concurrent use.
type Output struct {
	mu       sync.Mutex // guards the fields below
	chunks   []messages.StdioData
	size     int           // of all chunks
	dropped  int           // bytes, since a host was last told
	sending  int           // messages that were taken and are not yet sent
	hosts    int           // that fetch
	changed  chan struct{} // closed and made anew with every change
	lastTake time.Time     // when a host last did something
	lastSent time.Time     // when it was last sent something
}

// NewOutput returns one that is empty.
func NewOutput() *Output { return &Output{changed: make(chan struct{})} }

var _ messages.Stdio = (*Output)(nil)

// Put adds what was printed, of which it keeps no reference.
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

// makeRoom waits for a host that fetches, and drops the oldest if none does. The
// caller holds mu.
func (o *Output) makeRoom(n int) {
	for o.size+n > maxOutput && o.hosts > 0 {
		ctx, cancel := context.WithDeadline(context.Background(), o.lastTake.Add(outputPatience))
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

// append joins small pieces: a program may print byte by byte. The caller holds
// mu.
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

// Stream implements [messages.Stdio]. What it has taken is gone for every other
// host, as with go-plugin.
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

// update changes the fields for something that a host has done.
func (o *Output) update(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastTake = time.Now()
	f()
	o.change()
}

// take waits for something that was printed and takes it; nil when ctx ends. What
// was taken counts as being sent.
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
		note := fmt.Sprintf("\n[%d bytes of what the plugin printed were dropped here, as its host did not fetch them]\n", o.dropped)
		o.dropped = 0
		return &messages.StdioData{Channel: messages.Stderr, Data: []byte(note)}
	}
	data := o.chunks[0]
	o.removeFirst()
	o.change() // there is room
	return &data
}

// await waits for a change, and reports false when ctx ends first. The caller
// holds mu, which is let go meanwhile.
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

// Flush waits until a host has been sent everything and has had the time to read
// it, or none fetches any more, or ctx ends.
func (o *Output) Flush(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
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

// Rest returns what no host has fetched.
func (o *Output) Rest() []messages.StdioData {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := o.chunks
	o.chunks, o.size = nil, 0
	return rest
}
