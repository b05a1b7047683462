package pw

import (
	"context"
	"errors"
	"sync"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/internal/meter"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// call is a call of this side.
type call struct {
	stream
	ctx     context.Context //nolint:containedctx // the caller's
	method  string
	opts    callOptions
	isUnary bool   // it has one message each way
	plain   bool   // its errors are not explained
	md      fields // what the caller sends

	// The mutex of the connection guards these.
	rawHeader  []byte // metadata of the other side, encoded
	rawTrailer []byte
	headerText string // of the last header; a call that is used again often gets the same
	lists      lists
	ending     []byte // the status as it came; nil if the call is OK
	hasEnd     bool   // the end has come from the other side
	again      bool   // the end said that the stream may carry another call
	left       error  // why this side has given the call up
	untaken    bool   // the other side has said goodbye without having taken the call

	watch     *watch       // nil without stats handlers
	meter     *meter.Meter // nil if the call is not counted
	began     time.Time    // set with meter
	stopWatch func() bool  // of the watch on the context that ends a track; nil without
}

// calls that are over, for the next ones. Only unary calls come back: nobody has them any
// more when they have returned.
var pool = sync.Pool{New: func() any { return new(call) }}

func (c *conn) newCall(ctx context.Context, method string, opts []grpc.CallOption, plain bool) (*call, error) {
	k, _ := pool.Get().(*call)
	k.c, k.w, k.ctx, k.method, k.plain = c, c.w, ctx, method, plain
	k.allowed, k.credit, k.room = firstWindow, firstWindow, &c.room
	k.opts.maxReceive, k.opts.maxSend = c.client.MaxMessageSize, c.client.MaxMessageSize
	if len(opts) > 0 {
		if err := k.opts.set(opts); err != nil {
			return nil, err
		}
	}
	k.limit = k.opts.maxReceive
	return k, nil
}

// recycle gives a call back. Nothing refers to it any more.
func (k *call) recycle() {
	select {
	case <-k.receiver.wake:
	default:
	}
	const most = 128 << 10 // bytes that a call that is over keeps for the next one
	buffers := [...][]byte{k.data, k.base, k.md.block, k.rawHeader, k.rawTrailer}
	for i, b := range buffers {
		buffers[i] = b[:0]
		if cap(b) > most {
			buffers[i] = nil
		}
	}
	wake, text, lists := k.receiver.wake, k.headerText, k.lists
	if len(text) > most {
		text = ""
	}
	*k = call{}
	k.data, k.base, k.md.block, k.rawHeader, k.rawTrailer = buffers[0], buffers[1], buffers[2], buffers[3], buffers[4]
	k.receiver.wake, k.headerText, k.lists = wake, text, lists
	pool.Put(k)
}

// start checks the call, and then tells the meter and the stats handlers of it. Like gRPC, it
// does not tell them of a call with malformed metadata, or whose context has ended.
func (k *call) start(desc *grpc.StreamDesc) error {
	if err := k.readMetadata(); err != nil {
		return err
	}
	if err := k.ctx.Err(); err != nil {
		return err
	}
	if k.plain {
		return nil
	}
	if cfg := &k.c.client; cfg.Meter != nil && !cfg.IsControl(k.method) {
		k.meter, k.began = cfg.Meter, cfg.Meter.Begin()
	}
	if len(k.c.stats) == 0 {
		return nil
	}
	k.watch = k.c.newWatch(k, desc)
	return k.readMetadata() // a handler may have added some
}

func (k *call) readMetadata() error {
	k.md.block, k.md.size = k.md.block[:0], 0
	return k.md.addOutgoing(k.ctx)
}

// begin sends the beginning of the call, and the message if it is the only one and small.
func (k *call) begin(m *message) error {
	c := k.c
	if err := k.addCredentials(); err != nil {
		return err
	}
	if err := k.ctx.Err(); err != nil { // credentials may take long
		return err
	}
	if c.tracks != nil {
		return k.beginOnTrack(m)
	}
	w := k.w
	if err := w.lock(k.ctx); err != nil {
		if k.ctx.Err() != nil {
			return k.ctx.Err()
		}
		return errUnsent
	}
	c.mu.Lock()
	if c.lostWith != nil || c.goodbye {
		c.mu.Unlock()
		w.mu.Unlock()
		return errUnsent
	}
	k.id = c.number()
	c.made[k.id] = k
	c.inFlight.Add(1)
	if mayEnd(k.ctx) {
		c.arm()
	}
	c.mu.Unlock()
	if err := k.addOpen(m); err != nil {
		return err
	}
	if m == nil && k.isUnary {
		w.mu.Unlock() // the message follows, and takes it along
		return nil
	}
	w.flushFor(k.ctx)
	return nil
}

// number returns the number of the next call. The caller holds mu.
func (c *conn) number() uint32 {
	for {
		id := c.next
		c.next += 2
		if _, taken := c.made[id]; !taken && id != 0 {
			return id
		}
	}
}

// addOpen adds the open frame. If the message fails to encode, or panics, the call was never
// sent, and the mutex of the writer is unlocked. The caller holds that mutex.
func (k *call) addOpen(m *message) error {
	c, w := k.c, k.w
	at, added := w.begin(frameOpen, k.id), false
	defer func() {
		if added {
			return
		}
		w.buf = w.buf[:at] // the other side never hears of the number
		w.later()
		c.mu.Lock()
		defer c.mu.Unlock()
		k.forget()
		if k.l != nil {
			c.tracks.put(k.l, true)
		}
		k.id, k.l = 0, nil
	}()
	if err := k.appendOpen(m); err != nil {
		return err
	}
	w.end(at)
	added = true
	return nil
}

// appendOpen adds the payload of an open frame.
func (k *call) appendOpen(m *message) error {
	c, w := k.c, k.w
	flags := len(w.buf)
	w.buf = append(w.buf, 0)
	var set byte
	number, known := c.names[k.method]
	if len(k.method) > maxMethod || len(k.opts.subtype) > maxSubtype {
		return status.Errorf(codes.Internal, "the name of a method has at most %d bytes, and that of a codec %d", maxMethod, maxSubtype)
	}
	if !known {
		set |= openNewMethod
		if k.l == nil && len(c.names) < maxMethods && len(k.method) <= maxNumbered {
			number = uint32(len(c.names)) + 1 //nolint:gosec // bounded
		}
	}
	w.buf = appendUvarint(w.buf, uint64(number))
	if !known {
		w.buf = appendString(w.buf, k.method)
	}
	if deadline, ok := k.ctx.Deadline(); ok {
		set |= openDeadline
		w.buf = appendUvarint(w.buf, uint64(max(0, time.Until(deadline).Microseconds())))
	}
	if len(k.md.block) > 0 {
		if k.md.size > calls.MaxMetadata {
			return tooMuchMetadata("server")
		}
		set |= openMetadata
		w.buf = appendBlock(w.buf, k.md.block)
	}
	if k.opts.subtype != "" {
		set |= openSubtype
		w.buf = appendString(w.buf, k.opts.subtype)
	}
	if m != nil {
		set |= openMessage
		buf, err := m.appendTo(w.buf)
		if err != nil {
			return err
		}
		w.buf = buf
	}
	if !known && number > 0 { // now the other side gets the name
		c.names[k.method] = number
	}
	w.buf[flags] = set
	return nil
}

// errUnsent is why a call was never sent.
var errUnsent = errors.New("the call was not sent")

// take takes a frame for the call. The caller holds the mutex of the connection.
func (k *call) take(f frame) error {
	switch f.kind {
	case frameHeader:
		if k.headerIn {
			return broken("a header that nobody expects")
		}
		if _, err := checkMetadata(f.payload); err != nil {
			return err
		}
		k.headerIn, k.rawHeader = true, append(k.rawHeader, f.payload...)
		k.notify()
		return nil
	case frameMessage, frameBegin, framePiece:
		k.headerIn = true
		return k.takeMessage(f)
	case frameEnd:
		return k.takeEnd(f.payload)
	case frameCredit:
		return k.takeCredit(f.payload)
	default:
		return broken("a frame of kind %d for a call of this side", f.kind)
	}
}

func (k *call) takeEnd(b []byte) (err error) {
	if len(b) == 0 {
		return short()
	}
	flags := b[0]
	b = b[1:]
	var header, ending, trailer []byte
	if flags&endHeader != 0 {
		if header, b, err = metadataBlock(b, k.headerText); err != nil {
			return err
		}
		if k.headerIn {
			return broken("a header that nobody expects")
		}
		k.headerIn, k.rawHeader = true, append(k.rawHeader, header...)
	}
	if flags&endStatus != 0 {
		if ending, b, err = block(b, maxFrame); err != nil {
			return err
		}
		k.ending = append([]byte{}, ending...)
	}
	if flags&endTrailer != 0 {
		if trailer, b, err = metadataBlock(b, ""); err != nil {
			return err
		}
		k.rawTrailer = append(k.rawTrailer, trailer...)
	}
	if flags&endMessage != 0 {
		k.headerIn = true
		if len(b) > smallMessage {
			return broken("a message of %d bytes in one frame", len(b))
		}
		if err := k.admit(len(b)); err != nil {
			return err
		}
		k.put(b)
	} else if len(b) > 0 {
		return broken("%d bytes after the end of a call", len(b))
	}
	if k.ending == nil && (k.large != nil || k.skip > 0 && k.refusal == nil) {
		return broken("the end of a call in the middle of a message")
	}
	k.hasEnd = true
	k.again = flags&endAgain != 0
	k.forget()
	return nil
}

// forget takes the call off the connection: no frame for it is expected any more.
func (k *call) forget() {
	if k.over {
		return
	}
	k.over, k.gone = true, true
	k.dropLarge()
	delete(k.c.made, k.id)
	k.c.inFlight.Add(-1)
	k.notify()
	if k.l != nil {
		k.c.tracks.forgot()
	}
}

// abandon ends the call from this side. Other goroutines that use it get why.
func (k *call) abandon(why error) {
	if k.id == 0 { // it has not begun
		return
	}
	c := k.c
	c.mu.Lock()
	was := k.over
	if !was {
		k.left = why
	}
	k.forget()
	lost := c.lostWith != nil
	c.mu.Unlock()
	if was || lost {
		return
	}
	if k.l != nil {
		k.l.cancel(trackCanceled)
		return
	}
	k.w.mu.Lock()
	k.w.add(frameCancel, k.id, nil)
	k.w.later()
}

// result returns the status of a call that is over.
func (k *call) result() error {
	if !k.isUnary { // otherwise the caller waits, and nothing changes any more
		k.c.mu.Lock()
		defer k.c.mu.Unlock()
	}
	ending := k.ending
	switch {
	case k.refusal != nil:
		return k.refusal
	case !k.hasEnd && k.left != nil:
		return k.left
	case !k.hasEnd && k.untaken:
		return errUnsent
	case !k.hasEnd:
		return errLost
	case ending == nil:
		return nil
	}
	p := new(statuspb.Status)
	if err := proto.Unmarshal(ending, p); err != nil {
		return status.Errorf(codes.Internal, "the other side sent a malformed status: %v", err)
	}
	if p.GetCode() == int32(codes.OK) {
		return nil
	}
	if noRoom := calls.NoRoom(k.c.client.Other, false); k.isUnary && p.GetCode() == int32(codes.ResourceExhausted) && p.GetMessage() == status.Convert(noRoom).Message() {
		return noRoom // the handler has not begun
	}
	return status.FromProto(p).Err()
}

// header returns the metadata before the first message; nil if there is none. The caller holds
// the mutex of the connection, or the call is over.
func (k *call) header() metadata.MD {
	if !k.headerIn {
		return nil
	}
	if k.headerText != string(k.rawHeader) {
		k.headerText = string(k.rawHeader)
	}
	l := &k.lists
	if !k.isUnary { // it is not used again
		l = nil
	}
	return parseMetadata(l, k.headerText, extra{contentTypeKey, contentType(k.opts.subtype)})
}

// trailer returns the metadata after the last message, like header. An end alone says in the
// trailer what a header says otherwise.
func (k *call) trailer() metadata.MD {
	if k.id == 0 {
		return nil
	}
	if k.hasEnd && !k.headerIn {
		return parseMetadata(nil, string(k.rawTrailer), extra{contentTypeKey, contentType(k.opts.subtype)})
	}
	return parseMetadata(nil, string(k.rawTrailer))
}

// settle gives the caller what the options ask for, and returns the call's error as the
// caller gets it.
func (k *call) settle(err error) error {
	if err != nil {
		err = k.explain(err)
	}
	o := &k.opts
	if !k.isUnary { // the call is over otherwise
		k.c.mu.Lock()
	}
	if k.id != 0 {
		for _, h := range o.headers {
			*h = k.header()
		}
		for _, t := range o.trailers {
			*t = k.trailer()
		}
	}
	k.release()
	if !k.isUnary {
		k.c.mu.Unlock()
	}
	if k.id != 0 {
		for _, p := range o.peers {
			*p = *k.c.peer
		}
	}
	if k.l != nil {
		k.leaveTrack()
	}
	k.meter.End(k.began, err)
	if k.watch != nil {
		k.watch.end(err, k)
	}
	for _, f := range o.onFinish {
		f(err)
	}
	return err
}

var unaryDesc = &grpc.StreamDesc{}

// invoke is the innermost invoker of unary calls.
func (c *conn) invoke(ctx context.Context, method string, args, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
	return c.invokeOn(ctx, method, args, reply, opts, false)
}

// errPanic is the error that statistics show of a call whose caller panics.
var errPanic = status.Error(codes.Internal, "a panic while a message was encoded or decoded")

func (c *conn) invokeOn(ctx context.Context, method string, args, reply any, opts []grpc.CallOption, plain bool) error {
	k, err := c.newCall(ctx, method, opts, plain)
	if err != nil {
		return err
	}
	k.isUnary = true
	returned := false
	defer func() {
		if !returned { // a message has panicked, which is the caller's to handle
			k.abandon(errPanic)
			_ = k.settle(errPanic)
		}
	}()
	if err = k.start(unaryDesc); err == nil {
		err = k.unary(args, reply)
	}
	returned = true
	err = k.settle(err)
	k.recycle()
	if method == shutdownMethod {
		c.keepReading()
	}
	return err
}

// shutdownMethod asks a plugin to stop. Its goodbye comes next, which is for no call.
const shutdownMethod = "/plugwire.v1.Control/Shutdown"

// unary makes a call with one message each way.
func (k *call) unary(args, reply any) error {
	m, err := prepare(args, k.opts.codec, k.opts.maxSend)
	if err != nil {
		return err
	}
	small := &m
	if m.size > smallMessage {
		small = nil
	}
	if err := k.begin(small); err != nil {
		return err
	}
	k.watch.outHeader(k)
	if small == nil {
		err := k.sendMessage(k.ctx, &m, k.halfFrame(), false)
		if err != nil && !errors.Is(err, errLost) && !errors.Is(err, errGone) {
			k.abandon(err)
			return err
		}
	}
	k.watch.outPayload(args, m.size)
	if err := k.awaitAnswer(); err != nil {
		k.abandon(err)
		return err
	}
	answered := len(k.out) > 0
	if answered {
		b, large, err := k.receive(k.ctx)
		if err != nil {
			return err
		}
		if err := decode(b, large, reply, k.opts.codec, k.opts.maxReceive); err != nil {
			return err
		}
		k.watch.inPayload(reply, len(b))
	}
	switch err := k.result(); {
	case err != nil:
		return err
	case len(k.out) > 0:
		return errManyAnswers
	case !answered:
		return errNoAnswer
	default:
		return nil
	}
}

var (
	errNoAnswer    = status.Error(codes.Internal, "cardinality violation: received no response message from non-server-streaming RPC")
	errManyAnswers = status.Error(codes.Internal, "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message")
)

// awaitAnswer waits for the end of a unary call, and takes its messages. The other side may think
// that the call is a stream: it gets credit, and an error when it sends a second message.
func (k *call) awaitAnswer() error {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	for {
		if err := k.await(k.ctx, wantAnswer); err != nil {
			return err
		}
		switch {
		case k.over || k.c.lostWith != nil:
			k.takeAll()
			return nil
		case k.refusal != nil:
			return k.refusal
		case k.hasSecond():
			return errManyAnswers
		}
		more := k.owe()
		k.c.mu.Unlock()
		k.give(k.ctx, more)
		k.c.mu.Lock()
	}
}

// halfFrame says that no more messages come.
func (k *call) halfFrame() []byte {
	b := make([]byte, k.w.header)
	putHeader(b, frameHalf, k.id, 0)
	return b
}

// half sends that no more messages come.
func (k *call) half() {
	w := k.w
	w.mu.Lock()
	if !k.live() {
		w.mu.Unlock()
		return
	}
	w.add(frameHalf, k.id, nil)
	w.flushFor(k.ctx)
}

// explain returns the error of a call as its caller gets it.
func (k *call) explain(err error) error {
	c := k.c
	switch {
	case errors.Is(err, errUnsent):
		if k.plain {
			return calls.NotSent(codes.Unavailable, errLost.Error()).Err()
		}
		return calls.Unsent(c.lostError(k.ctx))
	case errors.Is(err, errLost):
		if k.plain {
			return status.Error(codes.Unavailable, errLost.Error())
		}
		return c.lostError(k.ctx)
	case errors.Is(err, context.DeadlineExceeded) && k.ctx.Err() != nil, errors.Is(err, context.Canceled) && k.ctx.Err() != nil:
		if !k.plain && c.Broken() {
			return c.lostError(k.ctx)
		}
		return c.late(status.FromContextError(k.ctx.Err()))
	case status.Code(err) == codes.DeadlineExceeded && !k.plain:
		return c.late(status.Convert(err))
	default:
		return err
	}
}

// late adds what keeps the other side from answering to the status of a deadline.
func (c *conn) late(s *status.Status) error {
	if s.Code() != codes.DeadlineExceeded || c.client.Stalled == nil {
		return s.Err()
	}
	if why := c.client.Stalled(); why != "" {
		p := s.Proto()
		p.Message += ": " + why
		return status.ErrorProto(p)
	}
	return s.Err()
}

// lostError returns the error of a call on a connection that is lost. Its owner finds out
// why, and calls Fail.
func (c *conn) lostError(ctx context.Context) error {
	select {
	case <-c.failed:
		return calls.LostError(nil, c.reason)
	default:
	}
	select {
	case <-c.failed:
		return calls.LostError(nil, c.reason)
	case <-ctx.Done():
		if c.isCallers(ctx) { // the loss has cancelled the context
			select {
			case <-c.failed:
				return calls.LostError(nil, c.reason)
			case <-time.After(reasonPatience):
			}
		}
		return status.FromContextError(ctx.Err()).Err()
	}
}

// reasonPatience bounds the wait for the reason of a loss, for a call whose own context has
// ended with the connection.
const reasonPatience = 5 * time.Second

// isCallers reports whether ctx is that of a call that came on this connection.
func (c *conn) isCallers(ctx context.Context) bool {
	info := calls.Caller(ctx)
	return info != nil && info.Conn == any(c)
}
