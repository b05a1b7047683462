package pw

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// sendLarge sends a large message in pieces, between which other frames go, and then tail.
func (s *stream) sendLarge(ctx context.Context, m *message, tail []byte) error {
	buf := largeBuffer()
	defer larges.Put(buf)
	head, body, err := m.parts((*buf)[:0])
	if err != nil {
		return err
	}
	*buf = head
	w := s.w
	if !w.interruptible && ctx.Done() != nil {
		return w.leaveLarge(ctx, s, head, body, tail)
	}
	return w.writeLarge(ctx, s, head, body, tail)
}

// larges are buffers for what of large messages is encoded.
var larges = sync.Pool{New: func() any { return new([]byte) }}

func largeBuffer() *[]byte {
	b, _ := larges.Get().(*[]byte)
	return b
}

// parts returns the encoded message in two parts. head is appended to buf. body is a field of
// the message itself if most of the message is that: it is not copied.
func (p *message) parts(buf []byte) (head, body []byte, err error) {
	if p.proto == nil {
		return buf, p.bytes, nil
	}
	if err := proto.CheckInitialized(p.proto); err != nil {
		return buf, nil, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	if head, body, err = appendHead(buf, p.proto.ProtoReflect(), p.size); err == nil && body != nil && len(head)+len(body) == p.size {
		return head, body, nil
	}
	if cap(buf) < p.size {
		buf = make([]byte, 0, p.size)
	}
	head, err = p.appendTo(buf)
	return head, nil, err
}

// appendHead encodes a message of that size up to a field of bytes that is most of it. body
// is nil if there is no such field.
func appendHead(b []byte, m protoreflect.Message, size int) (head, body []byte, err error) {
	fd, v := mostOf(m, size)
	if fd == nil {
		return b, nil, nil
	}
	if b, err = appendRest(b, m, fd); err != nil {
		return b, nil, err
	}
	b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
	if fd.Kind() == protoreflect.BytesKind {
		body = v.Bytes()
		return protowire.AppendVarint(b, uint64(len(body))), body, nil
	}
	n := proto.Size(v.Message().Interface())
	return appendHead(protowire.AppendVarint(b, uint64(n)), v.Message(), n) //nolint:gosec // not negative
}

// mostOf returns a field that is most of a message of that size, if there is one.
func mostOf(m protoreflect.Message, size int) (most protoreflect.FieldDescriptor, content protoreflect.Value) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.IsList() || fd.IsMap() {
			return true
		}
		n := 0
		switch fd.Kind() { //nolint:exhaustive // others are small, or cannot be shared
		case protoreflect.BytesKind:
			n = len(v.Bytes())
		case protoreflect.MessageKind:
			n = proto.Size(v.Message().Interface())
		}
		if n > 0 && n >= size-mostRest {
			most, content = fd, v
		}
		return most == nil
	})
	return most, content
}

// mostRest is how many bytes of a message are beside the field that is most of it: they go
// into the buffer of the first piece.
const mostRest = 4 << 10

// appendRest encodes a message without one field.
func appendRest(b []byte, m protoreflect.Message, without protoreflect.FieldDescriptor) ([]byte, error) {
	rest := m.New()
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd != without {
			rest.Set(fd, v)
		}
		return true
	})
	rest.SetUnknown(m.GetUnknown())
	return proto.MarshalOptions{AllowPartial: true}.MarshalAppend(b, rest.Interface())
}

// nextPiece returns what of a message the next piece of at most size bytes has, and what is
// left after it.
func nextPiece(size int, head, body []byte) (first, second, headLeft, bodyLeft []byte) {
	n := min(len(head), size)
	k := min(len(body), size-n)
	return head[:n], body[:k], head[n:], body[k:]
}

// beginPiece adds the header of a piece, after the size of the message if it is the first. The
// caller holds mu.
func (w *writer) beginPiece(id uint32, size, piece int, first bool) {
	if first {
		at := w.begin(frameBegin, id)
		w.buf = appendUvarint(w.buf, uint64(size)) //nolint:gosec // positive
		w.end(at)
	}
	putLength(w.buf[w.begin(framePiece, id):], piece)
}

// writeLarge writes a message in pieces.
func (w *writer) writeLarge(ctx context.Context, s *stream, head, body, tail []byte) error {
	size := len(head) + len(body)
	for first := true; len(head)+len(body) > 0; first = false {
		var a, b, after []byte
		a, b, head, body = nextPiece(w.lane.pieceSize(w.inFlight.Load() > 1), head, body)
		if len(head)+len(body) == 0 {
			after = tail
		}
		if err := w.lane.enter(ctx); err != nil {
			return err
		}
		w.mu.Lock()
		if err := w.wait(ctx, func() bool { return !w.busy }); err != nil {
			w.lane.leave()
			return err
		}
		if !s.live() {
			w.lane.leave()
			w.flushFor(ctx)
			return errGone
		}
		if ctx.Done() != nil {
			w.watch()
		}
		w.beginPiece(s.id, size, len(a)+len(b), first)
		w.busy = true
		before := w.buf
		w.buf, w.spare = w.spare, nil
		w.writing = ctx //nolint:fatcontext // it replaces that of the writer before
		w.writes++
		w.mu.Unlock()
		rest, err := w.writeAll(before, a, b, after)
		w.lane.leave()
		w.mu.Lock()
		w.writing = nil
		if len(rest) > 0 && err == nil {
			w.unwritten(rest)
			continue
		}
		if w.keep(before); err != nil {
			w.fail(err)
		}
		w.busy = false
		w.changed.Broadcast()
		w.flushFor(ctx)
	}
	return nil
}

// leaveLarge leaves a message to the flusher, in pieces.
func (w *writer) leaveLarge(ctx context.Context, s *stream, head, body, tail []byte) error {
	size := len(head) + len(body)
	for first := true; len(head)+len(body) > 0; first = false {
		var a, b []byte
		a, b, head, body = nextPiece(pieceSize, head, body)
		w.mu.Lock()
		if err := w.wait(ctx, func() bool { return len(w.buf) < pieceSize }); err != nil {
			return err
		}
		if !s.live() {
			w.later()
			return errGone
		}
		w.beginPiece(s.id, size, len(a)+len(b), first)
		w.buf = append(append(w.buf, a...), b...)
		if len(head)+len(body) == 0 {
			w.buf = append(w.buf, tail...)
		}
		w.later()
	}
	return nil
}

// joined is how many bytes are copied behind those before them if both cannot be written at
// once: as much as a record of TLS holds.
const joined = 16 << 10

// writeAll writes buffers in turn. rest is what was not written because the writer was taken
// out.
func (w *writer) writeAll(parts ...[]byte) (rest []byte, err error) {
	if conn, ok := w.raw.(interface{ File() (*os.File, error) }); ok { // a socket, which can write all at once
		all := net.Buffers(parts)
		_, err := all.WriteTo(conn.(net.Conn))
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			return slices.Concat(all...), nil
		}
		return nil, err
	}
	for i, b := range parts {
		if next := i + 1; next < len(parts) {
			n := min(len(parts[next]), max(0, joined-len(b)))
			b = append(slices.Clip(b), parts[next][:n]...)
			parts[next] = parts[next][n:]
		}
		if len(b) == 0 {
			continue
		}
		if rest, err = w.write(b); err != nil || len(rest) > 0 {
			return slices.Concat(append([][]byte{rest}, parts[i+1:]...)...), err
		}
	}
	return nil, nil
}
