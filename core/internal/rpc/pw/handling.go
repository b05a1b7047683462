package pw

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// handling is a call of the other side. It is a [grpc.ServerStream], and the
// [grpc.ServerTransportStream] of its context.
type handling struct {
	stream
	method *method
	codec  codec
	ctx    *callContext
	tagged context.Context //nolint:containedctx // ctx, with what stats handlers have added; nil without
	server *server

	// ctx.sending guards these.
	header  fields // of what SetHeader was given
	trailer fields
	sent    bool // the header has been sent
	ended   bool // the status has been sent

	unread  atomic.Int32 // messages sent since the last one was received
	began   time.Time
	fields  int         // bytes of the caller's metadata, as HTTP/2 counts them
	alone   bool        // the message came with the open frame: no other comes
	left    atomic.Bool // the call was cancelled or lost before its status was sent
	watched bool        // the stats handlers see the call
	told    bool        // the stats handlers have seen the end; belongs to the handler's goroutine
	first   bool        // a message was received; belongs to the receiver
	batched bool        // the background writes the status, with those of other calls

	panicked *panicValue // of the encoding of the answer; nil without

	watchesWrite bool // a write on the track ends with the deadline; guarded by the mutex of the writer

	decode   func(any) error // decodeOnly
	contexts []callContext   // for the next calls
	reusable bool            // only ctx is left of the call
}

var (
	_ grpc.ServerStream          = (*handling)(nil)
	_ grpc.ServerTransportStream = (*transportStream)(nil)
)

const (
	// mostMicros bounds a timeout, in microseconds: a larger one could overflow a duration.
	mostMicros = uint64(1 << 50)
	// maxSubtype bounds the name of a codec, in bytes.
	maxSubtype = 256
	// lightMetadata is the size, in bytes, up to which the metadata of a call is not
	// counted. Nearly all calls have less. The limit on calls bounds it.
	lightMetadata = 8 << 10
)

// handlings are calls that are over, for the next ones.
var handlings = sync.Pool{New: func() any { return new(handling) }}

// newHandling returns the call that an open frame begins.
func (c *conn) newHandling(f frame) *handling {
	h, _ := handlings.Get().(*handling)
	switch {
	case h.decode == nil: // it is new, and may never be used again
		h.decode = h.decodeOnly
		h.ctx = new(callContext)
	case len(f.payload) > lightMetadata:
		h.ctx = new(callContext)
	default:
		if len(h.contexts) == 0 {
			h.contexts = make([]callContext, contextsAtOnce)
		}
		h.ctx, h.contexts = &h.contexts[0], h.contexts[1:]
	}
	h.c, h.w, h.id, h.server = c, c.w, f.id, c.server
	h.allowed, h.credit = firstWindow, firstWindow
	h.ctx.base, h.ctx.handling = c.base, h
	return h
}

// contextsAtOnce is how many contexts of calls share an allocation. A goroutine that keeps one
// also keeps the others, with their metadata, which is at most lightMetadata each.
const contextsAtOnce = 4

// recycle gives back a unary call whose only message came with its beginning. Nothing refers
// to it any more, since only its handler has received and sent.
func (h *handling) recycle() {
	const most = 128 << 10 // bytes that a call that is over keeps for the next one
	buffers := [...][]byte{h.base, h.header.block, h.trailer.block}
	for i, b := range buffers {
		buffers[i] = b[:0]
		if cap(b) > most {
			buffers[i] = nil
		}
	}
	decode, contexts := h.decode, h.contexts
	*h = handling{}
	h.base, h.header.block, h.trailer.block, h.decode, h.contexts = buffers[0], buffers[1], buffers[2], decode, contexts
	handlings.Put(h)
}

// take takes a frame for the call. The caller holds the mutex of the connection.
func (h *handling) take(f frame) error {
	if h.gone {
		return nil // frames may be on their way when a call ends
	}
	switch f.kind {
	case frameMessage, frameBegin, framePiece:
		return h.takeMessage(f)
	case frameHalf:
		if h.large != nil || h.skip > 0 {
			return broken("the end of the messages in the middle of one")
		}
		h.over = true
		h.notify()
		return nil
	case frameCancel:
		h.cancelled(context.Canceled)
		return nil
	case frameCredit:
		return h.takeCredit(f.payload)
	default:
		return broken("a frame of kind %d for a call of the other side", f.kind)
	}
}

// cancelled ends the call from the other side. The caller holds the mutex of the connection.
func (h *handling) cancelled(err error) {
	halved := h.over // the end of the messages comes first
	h.over, h.gone = true, true
	h.left.Store(true)
	if h.refusal == nil && !halved {
		h.refusal = status.FromContextError(err).Err()
	}
	h.dropLarge()
	h.ctx.cancel(err)
	h.notify()
}

func (h *handling) lose() { h.cancelled(context.Canceled) }

// context returns what the handler gets.
func (h *handling) context() context.Context {
	if h.tagged != nil {
		return h.tagged
	}
	return h.ctx
}

// serve runs the handler.
func (h *handling) serve() {
	returned := false
	defer h.server.handlers.Done()
	defer h.leave()
	defer func() {
		if returned {
			return
		}
		h.finish(errGoexit, nil, false) // unless the handler is what has ended the goroutine
		if h.batched {                  // no other goroutine sends the status
			h.w.mu.Lock()
			h.w.flush()
		}
	}()
	h.watched = h.server.watched && isMethod(h.method.name)
	if h.watched {
		h.beginStats()
	}
	var err error
	began := time.Now()
	switch m := h.method; {
	case !m.known:
		err = unknownMethod(h.server, m.name)
	case h.ctx.metadata.subtype != "" && h.codec == nil:
		err = status.Errorf(codes.Internal, "no codec registered for content-subtype %s", h.ctx.metadata.subtype)
	case m.entry.Stream != nil:
		err = m.entry.Stream.Handler(m.entry.Service, h)
		h.stopSending()
	default:
		var reply any
		reply, err = m.entry.Unary(m.entry.Service, h.context(), h.decode, nil)
		m.ran(time.Since(began))
		if err == nil {
			h.finish(nil, reply, true)
			returned, h.reusable = true, h.alone
			return
		}
	}
	h.finish(err, nil, false)
	returned, h.reusable = true, h.alone && h.method.entry.Unary != nil
}

// stopSending ends the wait of a goroutine that has outlived its handler, and sends a
// message: the end of the call would wait for it.
func (h *handling) stopSending() {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.gone = true
	h.notify()
}

// waiting returns the context with which the handler's goroutine waits. A call that ends
// otherwise than by its deadline wakes it.
func (h *handling) waiting() context.Context {
	if h.ctx.deadline.IsZero() {
		return context.Background()
	}
	return h.ctx
}

// serveAndRead runs the handler in a goroutine of its own. If nobody reads afterwards, this
// goroutine does.
func (h *handling) serveAndRead() {
	c, m := h.c, h.method
	if m.entry.Unary != nil { // a stream lives longer, and often needs less
		growStack(0)
	}
	h.serve()
	c.mu.Lock()
	if c.inline == m {
		c.inline = nil
	}
	if c.reading || c.lostWith != nil || c.waiting.first != nil {
		c.passOn()
		c.mu.Unlock()
		return
	}
	c.reading, c.reader = true, nil
	c.progress++
	c.active++
	c.mu.Unlock()
	c.background()
}

// growStack makes the stack of a new goroutine large enough for most handlers. Otherwise the
// stack grows while the message is decoded, often twice, and then the runtime adjusts many
// frames. That took a sixth of the time of a plugin with many callers.
//
//go:noinline
func growStack(i int) byte {
	var room [5 << 10]byte
	room[i] = 1
	return room[i/2]
}

func (h *handling) leave() {
	h.ctx.cancel(context.Canceled)
	h.ctx.sending.Lock()
	h.ctx.handling = nil
	h.ctx.sending.Unlock()
	c := h.c
	c.mu.Lock()
	h.over, h.gone = true, true
	if h.refusal == nil {
		h.refusal = errEnded
	}
	h.notify()
	if c.reader == &h.stream { // a goroutine that has outlived the handler
		c.evict()
	}
	delete(c.served, h.id)
	if h.l != nil {
		h.l.h = nil
	}
	c.inFlight.Add(-1)
	h.release()
	if h.fields > lightMetadata {
		h.room.fields.Add(-int64(h.fields))
	}
	c.mu.Unlock()
	if h.reusable {
		h.recycle()
	}
}

// errEnded is why nothing comes any more for a handler that has returned.
var errEnded = status.Error(codes.Canceled, context.Canceled.Error())

// decodeOnly decodes the only message of a call.
func (h *handling) decodeOnly(m any) error {
	err := h.receiveInto(m)
	if err == nil && !h.alone {
		err = h.noMore()
	}
	if errors.Is(err, io.EOF) {
		return errNoMessage
	}
	return err
}

var (
	errNoMessage    = status.Error(codes.Internal, "cardinality violation: received no request message from non-client-streaming RPC")
	errManyMessages = status.Error(codes.Internal, "cardinality violation: received multiple request messages for non-client-streaming RPC")
)

// noMore waits for the end of the messages after the only one.
func (h *handling) noMore() error {
	switch _, _, err := h.receive(h.waiting()); {
	case err == nil:
		return errManyMessages
	case errors.Is(err, io.EOF):
		return nil
	default:
		return receiveError(err)
	}
}

func receiveError(err error) error {
	if _, ok := status.FromError(err); !ok && !errors.Is(err, io.EOF) {
		return status.FromContextError(err).Err()
	}
	return err
}

// Context implements [grpc.ServerStream].
func (h *handling) Context() context.Context { return h.context() }

// RecvMsg implements [grpc.ServerStream].
func (h *handling) RecvMsg(m any) error {
	h.unread.Store(0)
	err := h.receiveInto(m)
	if !h.method.entry.Stream.ClientStreams && !h.first {
		h.first = true
		switch {
		case err == nil && !h.alone:
			err = h.noMore()
		case errors.Is(err, io.EOF):
			err = errNoMessage
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.fail(err)
		h.out = nil
	}
	return err
}

// fail ends the call with an error that this side has found. Like gRPC, it ignores what the
// handler returns afterwards.
func (h *handling) fail(err error) {
	h.c.mu.Lock()
	if h.gone { // or the handler has returned
		h.c.mu.Unlock()
		return
	}
	h.gone = true // end waits for a goroutine that sends
	h.notify()
	h.c.mu.Unlock()
	_ = h.end(err, nil, false)
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.cancelled(context.Canceled)
	h.data, h.larges = h.data[:0], nil
}

// receiveInto receives a message.
func (h *handling) receiveInto(m any) error {
	b, large, err := h.receive(h.waiting())
	if err != nil {
		return receiveError(err)
	}
	if err := decode(b, large, m, h.codec, h.limit); err != nil {
		return err
	}
	if h.watched {
		h.tell(&stats.InPayload{Payload: m, Length: len(b), CompressedLength: len(b), WireLength: len(b) + grpcPrefix, RecvTime: time.Now()})
	}
	return nil
}

// errHeaderSent is the error of metadata that comes too late.
var errHeaderSent = status.Error(codes.Internal, "transport: SendHeader called multiple times")

func (h *handling) tell(s stats.RPCStats) {
	for _, handler := range h.server.stats {
		handler.HandleRPC(h.context(), s)
	}
}

func (h *handling) beginStats() {
	h.began = time.Now()
	h.tagged = h.ctx
	for _, handler := range h.server.stats {
		h.tagged = handler.TagRPC(h.tagged, &stats.RPCTagInfo{FullMethodName: h.method.name}) //nolint:fatcontext // one context for one call
	}
	begin := &stats.Begin{BeginTime: h.began}
	if s := h.method.entry.Stream; s != nil {
		begin.IsClientStream, begin.IsServerStream = s.ClientStreams, s.ServerStreams
	}
	h.tell(&stats.InHeader{
		FullMethod: h.method.name, Header: h.ctx.metadata.parsed().Copy(),
		RemoteAddr: h.c.stream.RemoteAddr(), LocalAddr: h.c.stream.LocalAddr(),
	})
	h.told = !h.method.known
	if !h.told {
		h.tell(begin)
	}
}
