package pw

import (
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// handleOpen begins a call of the other side. It returns the call if its handler is quick, so
// that the reader may run it.
func (c *conn) handleOpen(f frame) (*handling, error) {
	if _, taken := c.served[f.id]; taken || f.id&1 == c.next&1 || !isBefore(c.last, f.id) {
		return nil, broken("call %d begins after call %d", f.id, c.last)
	}
	if c.noMore { // the goodbye says that it has not begun
		return nil, nil //nolint:nilnil // it is nobody's
	}
	c.last = f.id
	h := c.newHandling(f)
	if err := h.parseOpen(f.payload); err != nil {
		return nil, err
	}
	if err := c.refusal(h); err != nil {
		return nil, c.refuseOpen(f.id, err)
	}
	h.limit, h.room = c.server.cfg.MaxMessageSize, &c.server.room
	if len(c.made) == 0 { // else it may be a call back from a handler
		c.expected = expectCalls
	}
	alone := len(c.served) == 0 && !c.in.hasFrame()
	c.served[f.id] = h
	c.inFlight.Add(1)
	c.server.handlers.Add(1)
	if h.over && !c.server.watched && h.method.isQuick(alone) {
		return h, nil
	}
	c.handed = true
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
		h.method = c.methodNamed(name)
		if number > 0 {
			if h.l != nil || number != uint64(len(c.methods))+1 || number > maxMethods || len(name) > maxNumbered {
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
	var md []byte
	if flags&openMetadata != 0 {
		if md, b, err = block(b, calls.MaxMetadata); err != nil {
			return err
		}
	}
	subtype := ""
	if flags&openSubtype != 0 {
		var name []byte
		if name, b, err = block(b, maxSubtype); err != nil {
			return err
		}
		subtype = string(name)
		h.codec = codecFor(subtype)
	}
	h.ctx.method = h.method.name
	if h.ctx.metadata, err = c.incomingOf(md, subtype, &h.ctx.own); err != nil {
		return err
	}
	h.fields = h.ctx.metadata.size
	if flags&openMessage != 0 {
		if len(b) > smallMessage {
			return broken("a message of %d bytes in one frame", len(b))
		}
		h.base = append(appendUvarint(slices.Grow(h.base, len(b)+binary.MaxVarintLen32), uint64(len(b))<<1), b...)
		h.out = h.base // nobody else has the call yet
		h.over, h.alone = true, true
	} else if len(b) > 0 {
		return broken("%d bytes after the beginning of a call", len(b))
	}
	return nil
}
