package pw

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// transportStream is what grpc.SetHeader and its like find in the context of a handler.
type transportStream struct{ c *callContext }

// Method implements [grpc.ServerTransportStream].
func (t transportStream) Method() string { return t.c.method }

// SetHeader implements [grpc.ServerTransportStream].
func (t transportStream) SetHeader(md metadata.MD) error { return t.c.setHeader(md) }

// SendHeader implements [grpc.ServerTransportStream].
func (t transportStream) SendHeader(md metadata.MD) error { return t.c.sendHeader(md) }

// SetTrailer implements [grpc.ServerTransportStream].
func (t transportStream) SetTrailer(md metadata.MD) error { return t.c.setTrailer(md) }

// isDone reports whether nothing is sent any more. The caller holds sending.
func (h *handling) isDone() bool { return h.ended || h.left.Load() }

// doneError is why nothing is sent any more.
func (c *callContext) doneError() error {
	err := c.Err()
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
	return h.ctx.setHeader(md)
}

// setHeader is SetHeader without a look at md, as for grpc.SetHeader.
func (c *callContext) setHeader(md metadata.MD) error {
	if len(md) == 0 {
		return nil
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	h := c.handling
	if h == nil || h.sent || h.isDone() {
		return errHeaderSent
	}
	h.header.addAll(md)
	return nil
}

// SendHeader implements [grpc.ServerStream].
func (h *handling) SendHeader(md metadata.MD) error {
	if err := validate(md); err != nil {
		return err
	}
	return h.ctx.sendHeader(md)
}

// sendHeader is SendHeader without a look at md, as for grpc.SendHeader.
func (c *callContext) sendHeader(md metadata.MD) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	h := c.handling
	if h == nil || h.isDone() {
		return c.doneError()
	}
	if h.sent {
		return errHeaderSent
	}
	h.header.addAll(md)
	return h.sendHeader(true)
}

// tooMuchMetadata is grpc's error for it. other is the side that it is sent to.
func tooMuchMetadata(other string) error {
	return status.Errorf(codes.Internal, "header list size to send violates the maximum size (%d bytes) set by %s", calls.MaxMetadata, other)
}

// sendHeader sends the header. The caller holds sending.
func (h *handling) sendHeader(flush bool) error {
	h.sent = true
	if h.header.size > calls.MaxMetadata {
		return tooMuchMetadata("client")
	}
	w := h.w
	if err := w.lock(h.waiting()); err != nil {
		return status.Error(codes.Unavailable, errLost.Error())
	}
	w.add(frameHeader, h.id, h.header.block)
	if flush {
		w.flushFor(h.waiting())
	} else {
		w.mu.Unlock()
	}
	if h.watched {
		h.tell(&stats.OutHeader{Header: parseMetadata(nil, string(h.header.block))})
	}
	return nil
}

// SetTrailer implements [grpc.ServerStream].
func (h *handling) SetTrailer(md metadata.MD) { _ = h.ctx.setTrailer(md) }

func (c *callContext) setTrailer(md metadata.MD) error {
	if len(md) == 0 {
		return nil
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	h := c.handling
	if h == nil || h.isDone() {
		return errHeaderSent
	}
	h.trailer.addAll(md)
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
	h.ctx.sending.Lock()
	defer h.ctx.sending.Unlock()
	if h.isDone() {
		return h.ctx.doneError()
	}
	if !h.sent {
		if err := h.sendHeader(false); err != nil {
			return err
		}
	}
	if err := h.sendMessage(h.waiting(), &p, nil, h.unread.Add(1) > 1); err != nil {
		return sendError(h.ctx, err)
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

// finish ends the call, and tells the stats handlers what the handler has returned. answers
// says that reply is the answer of a unary call, which may be nil.
func (h *handling) finish(err error, reply any, answers bool) {
	err = h.end(err, reply, answers)
	if p := h.panicked; p != nil {
		h.panicked = nil
		h.server.cfg.OnPanic(h.context(), h.method.name, p.value, p.stack)
	}
	if !h.watched || h.told {
		return
	}
	h.told = true
	h.tell(&stats.End{BeginTime: h.began, EndTime: time.Now(), Error: h.statusOf(err).Err()})
}

// end sends the status of the call, after the only message of a unary call. It returns how the
// call ended for this side.
func (h *handling) end(err error, reply any, answers bool) error {
	h.ctx.sending.Lock()
	defer h.ctx.sending.Unlock()
	if h.isDone() {
		if err == nil && answers {
			err = h.ctx.doneError()
		}
		return err
	}
	h.ended = true
	encoded := false
	defer func() { h.ended = encoded }() // false after runtime.Goexit
	if h.cut != nil && h.statusOf(err).Code() == codes.OK {
		err = sendError(h.ctx, h.cut)
	}
	var p message
	complete := false
	if err == nil && answers {
		err = h.guarded(func() (err error) {
			if p, err = prepare(reply, h.codec, h.server.cfg.MaxMessageSize); err == nil && p.size > smallMessage {
				complete, err = h.sendLargeReply(&p)
			}
			return err
		})
	}
	st := h.statusOf(err)
	if !complete {
		var ok bool
		if st, ok = h.sendEnd(st, &p); !ok {
			encoded = true
			return err
		}
	}
	encoded = true
	if !h.watched {
		return st.Err()
	}
	if !h.sent && (len(h.header.block) > 0 || answers && st.Code() == codes.OK) {
		h.tell(&stats.OutHeader{Header: parseMetadata(nil, string(h.header.block))})
	}
	if answers && st.Code() == codes.OK {
		h.tell(&stats.OutPayload{Payload: reply, Length: p.size, CompressedLength: p.size, WireLength: p.size + grpcPrefix, SentTime: time.Now()})
	}
	h.tell(&stats.OutTrailer{Trailer: parseMetadata(nil, string(h.trailer.block))})
	return st.Err()
}

// sendEnd sends the end frame, unless the connection is lost. It returns the status that the
// other side gets.
func (h *handling) sendEnd(st *status.Status, p *message) (sent *status.Status, ok bool) {
	w := h.w
	if h.lockToEnd(p.size) != nil {
		return nil, false
	}
	at, added := w.begin(frameEnd, h.id), false
	defer func() {
		if !added { // the encoding has ended the goroutine
			w.buf = w.buf[:at]
			w.later()
		}
	}()
	err := h.guarded(func() error { return h.appendEnd(st, p) })
	for err != nil { // each error drops what it is about
		w.buf = w.buf[:at]
		at = w.begin(frameEnd, h.id)
		*p = message{}
		st = h.statusOf(err)
		err = h.appendEnd(st, p)
	}
	w.end(at)
	added = true
	if h.batched {
		w.unsent.Store(true)
		w.mu.Unlock()
	} else {
		w.flush()
	}
	return st, true
}

// panicValue is what the encoding of an answer has panicked with.
type panicValue struct {
	value any
	stack []byte
}

// guarded calls encode, which encodes the answer of a handler that has returned. A panic ends
// the call only: no handler is left to get it, and the end of the process would end all other
// calls too.
func (h *handling) guarded(encode func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			h.panicked = &panicValue{value, debug.Stack()}
			err = status.Errorf(codes.Internal, "panic in the encoding of an answer of %s: %v", h.method.name, value)
		}
	}()
	return encode()
}

// errGoexit is the error of a call whose answer ends the goroutine that encodes it.
var errGoexit = status.Error(codes.Internal, "the encoding of the answer called runtime.Goexit")

// lockToEnd locks the writer for an end frame with a message of that size.
func (h *handling) lockToEnd(size int) error {
	w := h.w
	if h.l == nil {
		return w.lock(context.Background())
	}
	w.mu.Lock() // nothing follows on the track that room is kept for
	if w.err != nil {
		w.mu.Unlock()
		return errLost
	}
	w.widen(size)
	return nil
}

// sendLargeReply sends the message of the end, and if that works the end after it.
func (h *handling) sendLargeReply(p *message) (complete bool, err error) {
	if !h.sent {
		if err := h.sendHeader(false); err != nil {
			return false, err
		}
	}
	end, err := h.endFrame()
	if err != nil {
		return false, sendError(h.ctx, err)
	}
	if err := h.sendMessage(h.waiting(), p, end, false); err != nil {
		return false, sendError(h.ctx, err)
	}
	p.proto, p.bytes = nil, nil // the end has no message
	return len(end) > 0, nil
}

// endFrame returns the end frame of a call that ends well. It is nil if the call cannot end
// so.
func (h *handling) endFrame() ([]byte, error) {
	w := h.w
	if err := w.lock(h.waiting()); err != nil {
		return nil, err
	}
	defer w.mu.Unlock()
	at := w.begin(frameEnd, h.id)
	var end []byte
	if trailer := h.trailer; h.appendEnd(nil, new(message)) == nil {
		w.end(at)
		end = slices.Clone(w.buf[at:])
	} else {
		h.trailer = trailer // the end that follows says what is wrong
	}
	w.buf = w.buf[:at]
	return end, nil
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
	w := h.w
	at := len(w.buf)
	w.buf = append(w.buf, 0)
	var flags byte
	if len(h.header.block) > 0 && !h.sent {
		flags |= endHeader
		if h.header.size > calls.MaxMetadata {
			h.header = fields{}
			return tooMuchMetadata("client")
		}
		w.buf = appendBlock(w.buf, h.header.block)
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
	if len(h.trailer.block) > 0 {
		if h.trailer.size > calls.MaxMetadata {
			h.trailer = fields{}
			return tooMuchMetadata("client")
		}
		flags |= endTrailer
		w.buf = appendBlock(w.buf, h.trailer.block)
	}
	if (p.proto != nil || p.bytes != nil) && st.Code() == codes.OK {
		flags |= endMessage
		buf, err := p.appendTo(w.buf)
		if err != nil {
			return err
		}
		w.buf = buf
	}
	if h.l != nil && h.l.goesOn() {
		flags |= endAgain
	}
	w.buf[at] = flags
	return nil
}
