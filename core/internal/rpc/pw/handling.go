package pw

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// method is one method of the other side's calls, as a connection knows it.
type method struct {
	name  string
	entry calls.Method
	known bool // this side has it

	quick atomic.Int32 // how many handlers in a row were quick
	need  atomic.Int32 // how many have to be, until the background runs them itself
}

const (
	// quickTime is how long a handler runs at most that the background runs itself.
	quickTime = 100 * time.Microsecond
	// quickRuns is how many handlers of a method have to be quick first. Each slow one
	// makes it slowFactor times as many, up to mostQuickRuns: on a busy machine the system
	// takes the processor away from a quick handler now and then.
	quickRuns     = 8
	slowFactor    = 4
	mostQuickRuns = 512
	// forgiveAfter is how many handlers in a row have to be quick until quickRuns count
	// again.
	forgiveAfter = 1 << 14
)

func newMethod(name string) *method {
	m := &method{name: name}
	m.need.Store(quickRuns)
	return m
}

func (m *method) isQuick() bool { return m.entry.Unary != nil && m.quick.Load() >= m.need.Load() }

// ran notes how long a handler took.
func (m *method) ran(d time.Duration) {
	if d > quickTime {
		m.slow()
		return
	}
	if m.quick.Add(1) == forgiveAfter {
		m.need.Store(quickRuns)
		m.quick.Store(quickRuns)
	}
}

func (m *method) slow() {
	m.quick.Store(0)
	m.need.Store(min(m.need.Load()*slowFactor, mostQuickRuns))
}

// handling is a call of the other side. It is a [grpc.ServerStream], and the
// [grpc.ServerTransportStream] of its context.
type handling struct {
	stream
	method  *method
	codec   codec
	subtype string
	ctx     callContext
	tagged  context.Context //nolint:containedctx // ctx, with what stats handlers have added; nil without
	server  *server

	sending                 sync.Mutex // guards the fields below, and is held while a message is sent
	header                  []byte     // encoded, of what SetHeader was given
	trailer                 []byte
	headerSize, trailerSize int          // as HTTP/2 counts
	sent                    bool         // the header has been sent
	ended                   bool         // the status has been sent
	unread                  atomic.Int32 // messages sent since the last one was received
	began                   time.Time
	fields                  int         // bytes of the caller's metadata, as HTTP/2 counts them
	alone                   bool        // the message came with the open frame: no other comes
	left                    atomic.Bool // the call was cancelled or lost before its status was sent
	watched                 bool        // the stats handlers see the call
	told                    bool        // the stats handlers have seen the end; belongs to the handler's goroutine
	first                   bool        // a message was received; belongs to the receiver
	batched                 bool        // the background writes the status, with those of other calls
}

var (
	_ grpc.ServerStream          = (*handling)(nil)
	_ grpc.ServerTransportStream = (*transportStream)(nil)
)

// transportStream is what grpc.SetHeader and its like find in the context of a handler.
type transportStream struct{ h *handling }

// Method implements [grpc.ServerTransportStream].
func (t transportStream) Method() string { return t.h.method.name }

// SetHeader implements [grpc.ServerTransportStream].
func (t transportStream) SetHeader(md metadata.MD) error { return t.h.setHeader(md) }

// SendHeader implements [grpc.ServerTransportStream].
func (t transportStream) SendHeader(md metadata.MD) error { return t.h.sendHeaderWith(md) }

// SetTrailer implements [grpc.ServerTransportStream].
func (t transportStream) SetTrailer(md metadata.MD) error {
	return t.h.setTrailer(md)
}

// handleOpen begins a call of the other side. It returns the call if the background may
// serve it itself.
func (c *conn) handleOpen(f frame) (*handling, error) {
	if _, taken := c.served[f.id]; taken || f.id&1 == c.next&1 || !isBefore(c.last, f.id) {
		return nil, broken("call %d begins after call %d", f.id, c.last)
	}
	if c.noMore { // the goodbye says that it has not begun
		return nil, nil //nolint:nilnil // it is nobody's
	}
	c.last = f.id
	h := &handling{server: c.server}
	h.c, h.id = c, f.id
	h.allowed, h.credit = firstWindow, firstWindow
	if err := h.parseOpen(f.payload); err != nil {
		return nil, err
	}
	if err := c.refusal(h); err != nil {
		return nil, c.refuseOpen(f.id, err)
	}
	h.limit, h.room = c.server.cfg.MaxMessageSize, &c.server.room
	c.served[f.id] = h
	c.inFlight.Add(1)
	c.server.handlers.Add(1)
	if c.reader == nil && h.over && h.method.isQuick() && !c.server.watched {
		return h, nil
	}
	go h.serveAndRead()
	return nil, nil //nolint:nilnil // somebody else serves it
}

// refusal returns why this side does not serve a call that has come; nil if it does.
func (c *conn) refusal(h *handling) error {
	s := c.server
	switch {
	case s == nil:
		return status.Error(codes.Unimplemented, "this side serves nothing")
	case len(c.served) >= s.maxStreams:
		return calls.TooManyCalls(s.cfg.Side, s.cfg.Other, s.maxStreams)
	case h.fields > lightMetadata && !within(&s.room.fields, int64(h.fields), int64(s.limits.Metadata())):
		return calls.TooMuchMetadata(s.cfg.Side, s.cfg.Other, s.limits.Metadata())
	default:
		return nil
	}
}

// refuseOpen ends a call that this side does not serve. An error is the end of the
// connection.
func (c *conn) refuseOpen(id uint32, why error) error {
	b, err := proto.Marshal(status.Convert(why).Proto())
	if err != nil {
		return err
	}
	if !c.w.owe(frameEnd, id, appendBlock([]byte{endStatus}, b)) {
		return broken("calls that are refused, and answers to %d bytes of them that are not read", maxOwed)
	}
	return nil
}

// parseOpen reads the payload of an open frame.
func (h *handling) parseOpen(b []byte) error {
	c := h.c
	if len(b) == 0 {
		return short()
	}
	flags := b[0]
	number, b, err := uvarint(b[1:])
	if err != nil {
		return err
	}
	switch {
	case flags&openNewMethod != 0:
		var name []byte
		if name, b, err = block(b, maxMethod); err != nil {
			return err
		}
		h.method = newMethod(string(name))
		if c.server != nil {
			if strings.HasPrefix(h.method.name, "/") { // else the name is malformed
				h.method.entry, h.method.known = c.server.table.Method(h.method.name)
			}
		}
		if number > 0 {
			if number != uint64(len(c.methods))+1 || number > maxMethods || len(name) > maxNumbered {
				return broken("method number %d after %d", number, len(c.methods))
			}
			c.methods = append(c.methods, h.method)
		}
	case number == 0 || number > uint64(len(c.methods)):
		return broken("method number %d, which was not sent", number)
	default:
		h.method = c.methods[number-1]
	}
	if flags&openDeadline != 0 {
		var micros uint64
		if micros, b, err = uvarint(b); err != nil {
			return err
		}
		h.ctx.deadline = time.Now().Add(time.Duration(min(micros, mostMicros)) * time.Microsecond)
	}
	if flags&openMetadata != 0 {
		var md []byte
		if md, b, err = block(b, calls.MaxMetadata); err != nil {
			return err
		}
		if _, h.fields, err = checkMetadata(md); err != nil {
			return err
		}
		h.ctx.metadata = append([]byte{}, md...)
	}
	if flags&openSubtype != 0 {
		var name []byte
		if name, b, err = block(b, maxSubtype); err != nil {
			return err
		}
		h.subtype = string(name)
		h.codec = codecFor(h.subtype)
	}
	h.ctx.base, h.ctx.handling = c.base, h //nolint:fatcontext // the call is new
	if flags&openMessage != 0 {
		if len(b) > smallMessage {
			return broken("a message of %d bytes in one frame", len(b))
		}
		h.base = append(appendUvarint(make([]byte, 0, len(b)+binary.MaxVarintLen32), uint64(len(b))<<1), b...)
		h.out = h.base // nobody else has the call yet
		h.over, h.alone = true, true
	} else if len(b) > 0 {
		return broken("%d bytes after the beginning of a call", len(b))
	}
	return nil
}

const (
	// mostMicros bounds a timeout, in microseconds: a larger one could overflow a duration.
	mostMicros = uint64(1 << 50)
	// maxSubtype bounds the name of a codec, in bytes.
	maxSubtype = 256
	// lightMetadata is the size, in bytes, up to which the metadata of a call is not
	// counted. Nearly all calls have less. The limit on calls bounds it.
	lightMetadata = 8 << 10
)

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
	return &h.ctx
}

// serve runs the handler.
func (h *handling) serve() {
	returned := false
	defer h.server.handlers.Done()
	defer h.leave()
	defer func() {
		if !returned && h.batched { // the goroutine ends, and nobody else sends the status
			h.c.w.mu.Lock()
			h.c.w.flush()
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
	case h.subtype != "" && h.codec == nil:
		err = status.Errorf(codes.Internal, "no codec registered for content-subtype %s", h.subtype)
	case m.entry.Stream != nil:
		err = m.entry.Stream.Handler(m.entry.Service, h)
		h.stopSending()
	default:
		var reply any
		reply, err = m.entry.Unary(m.entry.Service, h.context(), h.decodeOnly, nil)
		m.ran(time.Since(began))
		if err == nil {
			h.finish(nil, reply)
			returned = true
			return
		}
	}
	h.finish(err, nil)
	returned = true
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
	return &h.ctx
}

// serveAndRead runs the handler in a goroutine of its own. If nobody reads afterwards, this
// goroutine does.
func (h *handling) serveAndRead() {
	h.serve()
	c := h.c
	c.mu.Lock()
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

func (h *handling) leave() {
	h.ctx.cancel(context.Canceled)
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
	c.inFlight.Add(-1)
	h.release()
	if h.fields > lightMetadata {
		h.room.fields.Add(-int64(h.fields))
	}
	c.mu.Unlock()
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
	_ = h.end(err, nil)
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

// isDone reports whether nothing is sent any more. The caller holds sending.
func (h *handling) isDone() bool { return h.ended || h.left.Load() }

// doneError is why nothing is sent any more.
func (h *handling) doneError() error {
	err := h.ctx.Err()
	if err == nil {
		err = context.Canceled
	}
	return status.FromContextError(err).Err()
}

// SetHeader implements [grpc.ServerStream].
func (h *handling) SetHeader(md metadata.MD) error {
	if len(md) == 0 {
		return nil
	}
	if err := validate(md); err != nil {
		return err
	}
	return h.setHeader(md)
}

// setHeader is SetHeader without a look at md, as for grpc.SetHeader.
func (h *handling) setHeader(md metadata.MD) error {
	if len(md) == 0 {
		return nil
	}
	h.sending.Lock()
	defer h.sending.Unlock()
	if h.sent || h.isDone() {
		return errHeaderSent
	}
	h.addHeader(md)
	return nil
}

func (h *handling) addHeader(md metadata.MD) {
	var size int
	h.header, size = appendMetadata(h.header, md)
	h.headerSize += size
}

// SendHeader implements [grpc.ServerStream].
func (h *handling) SendHeader(md metadata.MD) error {
	if err := validate(md); err != nil {
		return err
	}
	return h.sendHeaderWith(md)
}

// sendHeaderWith is SendHeader without a look at md, as for grpc.SendHeader.
func (h *handling) sendHeaderWith(md metadata.MD) error {
	h.sending.Lock()
	defer h.sending.Unlock()
	if h.isDone() {
		return h.doneError()
	}
	if h.sent {
		return errHeaderSent
	}
	h.addHeader(md)
	return h.sendHeader(true)
}

// tooMuchMetadata is grpc's error for it. other is the side that it is sent to.
func tooMuchMetadata(other string) error {
	return status.Errorf(codes.Internal, "header list size to send violates the maximum size (%d bytes) set by %s", calls.MaxMetadata, other)
}

// sendHeader sends the header. The caller holds sending.
func (h *handling) sendHeader(flush bool) error {
	h.sent = true
	if h.headerSize > calls.MaxMetadata {
		return tooMuchMetadata("client")
	}
	w := h.c.w
	if err := w.lock(h.waiting()); err != nil {
		return status.Error(codes.Unavailable, errLost.Error())
	}
	w.add(frameHeader, h.id, h.header)
	if flush {
		w.flushFor(h.waiting())
	} else {
		w.mu.Unlock()
	}
	if h.watched {
		h.tell(&stats.OutHeader{Header: decodeMD(h.header)})
	}
	return nil
}

// SetTrailer implements [grpc.ServerStream].
func (h *handling) SetTrailer(md metadata.MD) { _ = h.setTrailer(md) }

func (h *handling) setTrailer(md metadata.MD) error {
	if len(md) == 0 {
		return nil
	}
	h.sending.Lock()
	defer h.sending.Unlock()
	if h.isDone() {
		return errHeaderSent
	}
	var size int
	h.trailer, size = appendMetadata(h.trailer, md)
	h.trailerSize += size
	return nil
}

// SendMsg implements [grpc.ServerStream].
func (h *handling) SendMsg(m any) error {
	err := h.send(m)
	if err != nil {
		h.fail(err)
	}
	return err
}

// send sends a message.
func (h *handling) send(m any) error {
	p, err := prepare(m, h.codec, h.server.cfg.MaxMessageSize)
	if err != nil {
		return err
	}
	h.sending.Lock()
	defer h.sending.Unlock()
	if h.isDone() {
		return h.doneError()
	}
	if !h.sent {
		if err := h.sendHeader(false); err != nil {
			return err
		}
	}
	if err := h.sendMessage(h.waiting(), p.size, p.appendTo, h.unread.Add(1) > 1); err != nil {
		return sendError(&h.ctx, err)
	}
	if h.watched {
		h.tell(&stats.OutPayload{Payload: m, Length: p.size, CompressedLength: p.size, WireLength: p.size + grpcPrefix, SentTime: time.Now()})
	}
	return nil
}

func sendError(ctx context.Context, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, errGone):
		return errEnded
	}
	return status.Error(codes.Unavailable, errLost.Error())
}

// finish ends the call, and tells the stats handlers what the handler has returned.
func (h *handling) finish(err error, reply any) {
	err = h.end(err, reply)
	if !h.watched || h.told {
		return
	}
	h.told = true
	h.tell(&stats.End{BeginTime: h.began, EndTime: time.Now(), Error: h.statusOf(err).Err()})
}

// end sends the status of the call, after the only message of a unary call. It returns how the
// call ended for this side.
func (h *handling) end(err error, reply any) error {
	h.sending.Lock()
	defer h.sending.Unlock()
	if h.isDone() {
		if err == nil && reply != nil {
			err = h.doneError()
		}
		return err
	}
	h.ended = true
	if err == nil && h.cut != nil {
		err = sendError(&h.ctx, h.cut)
	}
	var p message
	if err == nil && reply != nil {
		if p, err = prepare(reply, h.codec, h.server.cfg.MaxMessageSize); err == nil && p.size > smallMessage {
			err = h.sendLargeReply(&p)
		}
	}
	st := h.statusOf(err)
	w := h.c.w
	if w.lock(context.Background()) != nil {
		return err // the connection is lost
	}
	at := w.begin(frameEnd, h.id)
	if err := h.appendEnd(st, &p); err != nil {
		w.buf = w.buf[:at]
		at = w.begin(frameEnd, h.id)
		p = message{}
		st = h.statusOf(err)
		_ = h.appendEnd(st, &p) // has nothing left that can fail
	}
	w.end(at)
	if h.batched {
		w.unsent.Store(true)
		w.mu.Unlock()
	} else {
		w.flush()
	}
	if !h.watched {
		return st.Err()
	}
	if !h.sent && (len(h.header) > 0 || reply != nil && st.Code() == codes.OK) {
		h.tell(&stats.OutHeader{Header: decodeMD(h.header)})
	}
	if reply != nil && st.Code() == codes.OK {
		h.tell(&stats.OutPayload{Payload: reply, Length: p.size, CompressedLength: p.size, WireLength: p.size + grpcPrefix, SentTime: time.Now()})
	}
	h.tell(&stats.OutTrailer{Trailer: decodeMD(h.trailer)})
	return st.Err()
}

func (h *handling) sendLargeReply(p *message) error {
	if !h.sent {
		if err := h.sendHeader(false); err != nil {
			return err
		}
	}
	if err := h.sendMessage(h.waiting(), p.size, p.appendTo, false); err != nil {
		return sendError(&h.ctx, err)
	}
	p.proto, p.bytes = nil, nil // the end has no message
	return nil
}

func (h *handling) statusOf(err error) *status.Status {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err) // as grpc does
	}
	return s
}

// appendEnd adds the payload of an end frame.
func (h *handling) appendEnd(st *status.Status, p *message) error {
	w := h.c.w
	at := len(w.buf)
	w.buf = append(w.buf, 0)
	var flags byte
	if len(h.header) > 0 && !h.sent {
		flags |= endHeader
		if h.headerSize > calls.MaxMetadata {
			h.header, h.headerSize = nil, 0
			return tooMuchMetadata("client")
		}
		w.buf = appendBlock(w.buf, h.header)
	}
	if st.Code() != codes.OK {
		flags |= endStatus
		p := st.Proto()
		p.Message = string([]rune(p.GetMessage())) // as gRPC sends bytes that are not UTF-8
		b, err := proto.Marshal(p)
		if err != nil || len(b) > maxFrame/2 {
			b, _ = proto.Marshal(status.New(st.Code(), "the status cannot be sent").Proto()) // a status of plain text can always be encoded
		}
		w.buf = appendBlock(w.buf, b)
	}
	if len(h.trailer) > 0 {
		if h.trailerSize > calls.MaxMetadata {
			h.trailer, h.trailerSize = nil, 0
			return tooMuchMetadata("client")
		}
		flags |= endTrailer
		w.buf = appendBlock(w.buf, h.trailer)
	}
	if (p.proto != nil || p.bytes != nil) && st.Code() == codes.OK {
		flags |= endMessage
		buf, err := p.appendTo(w.buf)
		if err != nil {
			return err
		}
		w.buf = buf
	}
	w.buf[at] = flags
	return nil
}

func (h *handling) tell(s stats.RPCStats) {
	for _, handler := range h.server.stats {
		handler.HandleRPC(h.context(), s)
	}
}

func (h *handling) beginStats() {
	h.began = time.Now()
	h.tagged = &h.ctx
	for _, handler := range h.server.stats {
		h.tagged = handler.TagRPC(h.tagged, &stats.RPCTagInfo{FullMethodName: h.method.name}) //nolint:fatcontext // one context for one call
	}
	begin := &stats.Begin{BeginTime: h.began}
	if s := h.method.entry.Stream; s != nil {
		begin.IsClientStream, begin.IsServerStream = s.ClientStreams, s.ServerStreams
	}
	h.tell(&stats.InHeader{
		FullMethod: h.method.name, Header: h.ctx.incoming().Copy(),
		RemoteAddr: h.c.stream.RemoteAddr(), LocalAddr: h.c.stream.LocalAddr(),
	})
	h.told = !h.method.known
	if !h.told {
		h.tell(begin)
	}
}
