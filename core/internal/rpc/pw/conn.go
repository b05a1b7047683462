package pw

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// conn is a connection, with both ends of this side: calls that this side makes, and those
// that it serves.
//
// One goroutine at a time has the role of the reader: a goroutine that waits for its own
// frame, or one in the background. The reader hands frames to the calls that they are for. A
// reader whose own frame has come gives the role to another goroutine that waits, or leaves
// it free. A role that is free for a whole tick goes to a goroutine in the background, and at
// once if the other side may begin a call by itself.
type conn struct {
	stream  *session.Stream
	client  calls.ClientConfig
	server  *server // nil if this side serves nothing
	auth    *calls.AuthInfo
	base    context.Context //nolint:containedctx // what the contexts of all served calls have in common
	ident   *grpc.ClientConn
	unary   grpc.UnaryInvoker
	open    grpc.Streamer
	w       *writer
	tracks  *tracks // nil if the calls share the stream
	spinner *spinner
	frames  int
	peer    *peer.Peer
	stats   []stats.Handler

	inFlight atomic.Int32 // calls in both directions
	armed    atomic.Bool  // a tick will come; set and cleared with mu

	names map[string]uint32 // numbers of methods that were sent; guarded by w.mu

	mu       sync.Mutex // guards the fields below, and the receiving side of all calls
	in       inbuf      // belongs to the reader
	reading  bool       // a goroutine has the role
	reader   *stream    // the call that reads; nil for the background
	mayLeave bool       // the reader has a context that may end
	evicted  bool       // the reader was told to leave
	progress uint64     // how often the role was taken, left, or has read
	seen     uint64     // progress at the last tick
	slept    bool       // the last read has slept, and few calls come at once
	expected int        // how many more times the background reads though no call waits
	handed   bool       // since the last read, a frame went to a call that waits
	inline   *method    // of a quick handler that runs while nobody has the role
	waiting  waitList   // those that wait for a frame, and do not read
	made     map[uint32]*call
	served   map[uint32]*handling
	next     uint32    // number of the next call of this side
	last     uint32    // number of the last call of the other side
	methods  []*method // of the other side's calls, by number
	incoming *incoming // metadata of the last call of the other side
	greeted  bool      // hello is closed
	goodbye  bool      // the other side takes no more calls
	noMore   bool      // this side takes no more calls
	lostWith error     // why the connection is lost

	tick     *time.Timer
	writesAt uint64 // w.writes at the last tick

	hello    chan struct{} // closed when the other side has let the connection in
	lost     chan struct{} // closed when the connection is lost
	failed   chan struct{} // closed by Fail, after reason is set
	reason   error
	failOnce sync.Once
	workers  sync.WaitGroup // the flusher, and the goroutine that closes the stream
	room     room           // for the answers to this side's calls

	active int           // goroutines of the background that do not run a handler; guarded by mu
	idle   chan struct{} // closed when active is 0 after the loss; made by Close, guarded by mu
}

// tickEvery is how long a role may be nobody's, and how long a caller with a context reads
// without progress. A handler that the background runs itself delays others for up to two of
// them.
const tickEvery = time.Millisecond

func newConn(stream *session.Stream, client calls.ClientConfig, s *server, first uint32) *conn {
	c := &conn{
		stream: stream, client: client, server: s, auth: calls.NewAuthInfo(stream.Info), next: first,
		names: make(map[string]uint32), made: make(map[uint32]*call), served: make(map[uint32]*handling),
		hello: make(chan struct{}), lost: make(chan struct{}), failed: make(chan struct{}),
		greeted: first%2 == 0, // a plugin gets no hello: only plugins send one
	}
	c.auth.Conn = c
	c.peer = &peer.Peer{Addr: stream.RemoteAddr(), LocalAddr: stream.LocalAddr(), AuthInfo: c.auth}
	c.base = peer.NewContext(context.Background(), c.peer)
	c.stats = calls.ApplicationStats(client.Stats, client.IsControl)
	c.room.side, c.room.limit = client.Side, int64(calls.Limits{Buffered: client.Buffered}.WithDefaults(client.MaxMessageSize).Buffered)
	c.w = newWriter(stream.Conn, &c.inFlight, c.lose, func() {
		if c.armed.Load() { // the tick sees that the writer is busy, since it locks the writer's mutex after armed is cleared
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.arm()
	})
	c.spinner = newSpinner(stream.Conn)
	c.tick = time.AfterFunc(time.Hour, c.onTick)
	c.tick.Stop()
	c.intercept()
	c.reading = true
	c.workers.Go(func() { c.w.flusher(c.lost) })
	if m := stream.Multiplexed(); m != nil {
		c.tracks = newTracks(c, m)
		c.workers.Go(c.tracks.accept)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goBackground()
	return c
}

// rest notes that a goroutine of the background has ended, or runs a handler. The caller
// holds mu.
func (c *conn) rest() {
	c.active--
	if c.active == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// wait waits for the goroutines of a connection that is lost. Handlers are not among them:
// they may ignore their context.
func (c *conn) wait() {
	c.mu.Lock()
	if c.active > 0 {
		if c.idle == nil {
			c.idle = make(chan struct{})
		}
		idle := c.idle
		c.mu.Unlock()
		<-idle
	} else {
		c.mu.Unlock()
	}
	c.workers.Wait()
}

// arm makes a tick come. The caller holds mu.
func (c *conn) arm() {
	if !c.armed.Load() && c.lostWith == nil {
		c.armed.Store(true)
		c.tick.Reset(tickEvery)
	}
}

func (c *conn) onTick() {
	c.mu.Lock()
	c.armed.Store(false)
	if c.lostWith != nil {
		c.mu.Unlock()
		return
	}
	still := c.progress == c.seen
	c.seen = c.progress
	switch {
	case !c.reading && still:
		if c.inline != nil {
			c.inline.slow()
			c.inline = nil
		}
		c.goBackground()
	case c.reading && c.reader != nil && c.mayLeave && still && !c.evicted:
		c.evict()
	case !c.reading, c.reading && c.reader != nil && c.mayLeave:
		c.arm()
	}
	c.mu.Unlock()

	c.w.mu.Lock()
	stuck := c.w.busy && c.w.writes == c.writesAt
	c.writesAt = c.w.writes
	busy := c.w.busy && !c.w.patient
	if stuck && busy && c.w.mayTakeOut() {
		c.w.takeOut()
	}
	c.w.mu.Unlock()
	if busy {
		c.mu.Lock()
		c.arm()
		c.mu.Unlock()
	}
}

// handle gives a frame to the call that it is for. A call that the background may serve
// itself is returned.
func (c *conn) handle(f frame) (*handling, error) {
	c.frames++
	switch {
	case f.kind == frameGoodbye && f.id == 0:
		return nil, c.takeGoodbye(f.payload)
	case f.kind == frameHello && f.id == 0 && !c.greeted:
		c.greeted = true
		close(c.hello)
		return nil, nil //nolint:nilnil // it is for no call
	case f.kind == frameGoodbye || f.id == 0:
		return nil, broken("a frame of kind %d for call %d", f.kind, f.id)
	case c.tracks != nil:
		return nil, broken("a frame of kind %d on the first stream", f.kind)
	case f.kind == frameOpen:
		return c.handleOpen(f)
	}
	if f.id&1 == c.next&1 {
		if k := c.made[f.id]; k != nil {
			return nil, k.take(f)
		}
		if !isBefore(f.id, c.next) {
			return nil, broken("a frame for call %d, which has not begun", f.id)
		}
		return nil, nil //nolint:nilnil // it has ended
	}
	if h := c.served[f.id]; h != nil {
		return nil, h.take(f)
	}
	if isBefore(c.last, f.id) && !c.noMore {
		return nil, broken("a frame for call %d, which has not begun", f.id)
	}
	return nil, nil //nolint:nilnil // it has ended
}

// takeGoodbye ends the connection. Calls after the last one that the other side has taken
// have certainly not begun.
func (c *conn) takeGoodbye(payload []byte) error {
	last, rest, err := uvarint(payload)
	if err != nil || len(rest) > 0 || last > math.MaxUint32 {
		return broken("the number in a goodbye")
	}
	if c.goodbye {
		return broken("a second goodbye")
	}
	c.goodbye = true
	if c.tracks != nil {
		return c.tracks.finish()
	}
	for id, k := range c.made {
		k.untaken = isBefore(uint32(last), id)
	}
	return io.EOF
}

// sayNoMore takes no more calls of the other side. It returns the number of the last one
// that it has taken.
func (c *conn) sayNoMore() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noMore = true
	if c.tracks != nil {
		return 0 // each call that comes is refused on its own stream
	}
	return c.last
}

// lose is the end of the connection.
func (c *conn) lose(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loseLocked(err)
}

func (c *conn) loseLocked(err error) {
	if c.lostWith != nil {
		return
	}
	if err == nil {
		err = io.EOF
	}
	c.lostWith = err
	c.tick.Stop()
	if c.tracks != nil {
		c.tracks.end()
	}
	c.w.over.Store(true) // handlers end with the connection, and what they answer is not sent
	c.workers.Go(func() {
		// Over TLS, Close says so to the other side, which may not read: that can last.
		_ = c.stream.Close()
		c.w.shut(err) // waits for a mutex that is locked before mu
		if c.server != nil {
			<-c.lost // server.add looks at it
			c.server.remove(c)
		}
	})
	close(c.lost)
	for _, k := range c.made {
		k.over, k.gone = true, true
		k.notify()
	}
	for _, h := range c.served {
		h.lose()
	}
}

var errLost = errors.New("the connection is lost")
