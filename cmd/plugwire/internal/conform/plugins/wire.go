package plugins

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// The kinds of frames of pw/1.
const (
	kindOpen    = 1
	kindMessage = 3
	kindBegin   = 4
	kindPiece   = 5
	kindHalf    = 6
	kindEnd     = 7
	kindCancel  = 8
	kindCredit  = 9
	kindGoodbye = 10
	kindHello   = 11
)

// maxMessage is the largest message that is one frame.
const maxMessage = 32 << 10

const needWire = "wire-2/hello"

// wireRules are about the wire pw/1.
func (s *suite) wireRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "wire 2", Name: "hello", Needs: []string{needFields, needHealth},
			Title: "The plugin's first frame is hello, for call 0 and empty.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.onWire(ctx, c)
				if err != nil {
					return err
				}
				_, err = p.openWire(ctx)
				return err
			},
		},
		{
			Section: "wire 3", Name: "call", Needs: []string{needWire},
			Title: "A call is answered, by the name of its method and then by its number.",
			Check: s.wireCall,
		},
		{
			Section: "wire 3", Name: "unknown-method", Needs: []string{needWire},
			Title: "A method that the plugin does not have is UNIMPLEMENTED, and the connection goes on.",
			Check: s.wireUnknown,
		},
		{
			Section: "wire 3", Name: "skipped-numbers", Needs: []string{needWire},
			Title: "Numbers of calls may be left out.",
			Check: func(ctx context.Context, c *conform.Case) error {
				return s.onOne(ctx, c, func(w *wire) error {
					for _, number := range []uint32{7, 9, 1001} {
						if err := w.checkHealth(number, number == 7); err != nil {
							return err
						}
					}
					return nil
				})
			},
		},
		{
			Section: "wire 4", Name: "pieces", Needs: []string{needWire},
			Title: "A message of more than 32 KiB comes in pieces, and frames of other calls may come between them.",
			Check: s.wirePieces,
		},
		{
			Section: "wire 4", Name: "credit", Needs: []string{needWire},
			Title: "The plugin gives credit for what it has taken.",
			Check: s.wireCredit,
		},
		{
			Section: "wire 5", Name: "late-frames", Needs: []string{needWire},
			Title: "Frames for a call that has ended are ignored.",
			Check: s.wireLate,
		},
		{
			Section: "wire 5", Name: "bad-message", Needs: []string{needWire},
			Title: "A message that does not decode ends its call, and not the connection.",
			Check: s.wireBadMessage,
		},
		{
			Section: "wire 8", Name: "protocol-errors", Needs: []string{needWire},
			Title: "A frame that breaks a rule ends its connection, and others are served.",
			Check: s.wireErrors,
		},
	}
}

// frame returns a frame of pw/1.
func frame(kind byte, call uint32, payload ...byte) []byte {
	return append(frameHeader(kind, call, len(payload)), payload...)
}

func frameHeader(kind byte, call uint32, length int) []byte {
	b := []byte{byte(length), byte(length >> 8), byte(length >> 16), kind}
	return binary.LittleEndian.AppendUint32(b, call)
}

// The flags of an open frame.
const (
	flagName    = 1
	flagMessage = 16
)

// openFrame begins a call of a method that gets the number, with name, or has it.
func openFrame(call uint32, number uint64, name string, message []byte, flags byte) []byte { //nolint:unparam // the flags are part of the frame
	payload := []byte{flags}
	payload = protowire.AppendVarint(payload, number)
	if name != "" {
		payload[0] |= flagName
		payload = protowire.AppendString(payload, name)
	}
	if message != nil {
		payload[0] |= flagMessage
		payload = append(payload, message...)
	}
	return frame(kindOpen, call, payload...)
}

// wire is a connection of pw/1.
type wire struct {
	net.Conn
	methods uint64 // numbers that were given
}

// onWire starts the plugin with pw/1.
func (s *suite) onWire(ctx context.Context, c *conform.Case) (*answeredPlugin, error) {
	p, err := s.startAny(ctx, c, ours("wires", "pw/1"))
	switch {
	case err != nil:
		return nil, err
	case p.refusal == "wire":
		return nil, conform.NotApplicable("the plugin does not have the wire pw/1")
	case p.extended["wire"] != "pw/1":
		return nil, conform.Fail("wire=pw/1 for an offer of pw/1 alone", clip(p.line), "refuse with code wire, or choose what was offered")
	}
	return p, nil
}

// openWire opens a connection, and reads hello.
func (p *answeredPlugin) openWire(ctx context.Context) (*wire, error) {
	conn, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn}
	kind, call, payload, err := w.read()
	if err != nil || kind != kindHello || call != 0 || len(payload) > 0 {
		return nil, conform.Fail("hello: kind 11, call 0, empty", fmt.Sprintf("kind %d, call %d, %d bytes, error %v", kind, call, len(payload), err), "send it when the connection is let in")
	}
	return w, nil
}

// send writes frames that the plugin must take.
func (w *wire) send(frames ...[]byte) error {
	if _, err := w.Write(slices.Concat(frames...)); err != nil {
		return conform.Fail("the plugin reads the frames", err.Error(), "see sections 2 to 5")
	}
	return nil
}

// maxEnd is the longest payload that a frame may have.
const maxEnd = 6 << 20

// read reads a frame.
func (w *wire) read() (kind byte, call uint32, payload []byte, err error) {
	var header [8]byte
	if _, err = io.ReadFull(w, header[:]); err != nil {
		return 0, 0, nil, err
	}
	length := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if length > maxEnd {
		return 0, 0, nil, fmt.Errorf("a frame of kind %d has %d bytes", header[3], length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(w, payload)
	return header[3], binary.LittleEndian.Uint32(header[4:]), payload, err
}

// end reads until the end of a call, and returns the code of its status, and whether the
// end has a message.
func (w *wire) end(call uint32) (codes.Code, []byte, error) {
	for {
		kind, number, payload, err := w.read()
		if err != nil {
			return 0, nil, conform.Fail(fmt.Sprintf("the end of call %d", call), err.Error(), "answer each call with a frame of kind 7")
		}
		if kind != kindEnd || number != call {
			continue // credit, or another call
		}
		return parseEnd(payload)
	}
}

// parseEnd reads the payload of an end frame.
func parseEnd(payload []byte) (codes.Code, []byte, error) {
	bad := conform.Fail("an end frame as in section 5", hex.EncodeToString(payload[:min(len(payload), 64)]), "compare it with the vectors")
	if len(payload) == 0 {
		return 0, nil, bad
	}
	flags, rest := payload[0], payload[1:]
	var code codes.Code
	for _, flag := range []byte{1, 2, 4} {
		if flags&flag == 0 {
			continue
		}
		block, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			return 0, nil, bad
		}
		rest = rest[n:]
		if flag == 2 {
			numbers, err := varints(block)
			if err != nil {
				return 0, nil, bad
			}
			code = codes.Code(numbers[1])
		}
	}
	if flags&8 == 0 && len(rest) > 0 || flags > 15 {
		return 0, nil, bad
	}
	return code, rest, nil
}

// healthRequest asks for the service plugin.
func healthRequest() []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "plugin")
}

// checkHealth asks for the health. The method gets a number with the first call.
func (w *wire) checkHealth(call uint32, first bool) error {
	name := ""
	if first {
		w.methods++
		name = healthCheck
	}
	if err := w.send(openFrame(call, w.methods, name, healthRequest(), 0)); err != nil {
		return err
	}
	code, message, err := w.end(call)
	if err != nil {
		return err
	}
	numbers, err := varints(message)
	if code != codes.OK || err != nil || numbers[1] != 1 {
		return conform.Fail(fmt.Sprintf("call %d ends with OK, and the message that says SERVING", call), fmt.Sprintf("%v and %x", code, message), "see sections 3 and 5")
	}
	return nil
}

// onOne runs a check on a connection.
func (s *suite) onOne(ctx context.Context, c *conform.Case, check func(w *wire) error) error {
	p, err := s.onWire(ctx, c)
	if err != nil {
		return err
	}
	w, err := p.openWire(ctx)
	if err != nil {
		return err
	}
	return check(w)
}

func (s *suite) wireCall(ctx context.Context, c *conform.Case) error {
	return s.onOne(ctx, c, func(w *wire) error {
		return errors.Join(w.checkHealth(1, true), w.checkHealth(3, false))
	})
}

func (s *suite) wireUnknown(ctx context.Context, c *conform.Case) error {
	return s.onOne(ctx, c, func(w *wire) error {
		w.methods++
		if err := w.send(openFrame(1, w.methods, "/conform.Nobody/Serves", []byte{}, 0)); err != nil {
			return err
		}
		code, _, err := w.end(1)
		if err != nil {
			return err
		}
		if code != codes.Unimplemented {
			return conform.Fail("UNIMPLEMENTED", code.String(), "end the call, and keep the number of the method")
		}
		return w.checkHealth(3, true)
	})
}

// largeRequest is a health request of a service with a long name.
func largeRequest(size int) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), slices.Repeat([]byte("a"), size))
}

func (s *suite) wirePieces(ctx context.Context, c *conform.Case) error {
	return s.onOne(ctx, c, func(w *wire) error {
		const size, piece = 300 << 10, 100 << 10
		message := largeRequest(size)
		w.methods++
		sent := openFrame(1, w.methods, healthCheck, nil, 0)
		sent = append(sent, frame(kindBegin, 1, protowire.AppendVarint(nil, uint64(len(message)))...)...)
		if err := w.send(sent); err != nil {
			return err
		}
		for i := range slices.Chunk(message, piece) {
			if err := w.send(frame(kindPiece, 1, i...)); err != nil {
				return err
			}
		}
		if err := w.send(frame(kindHalf, 1)); err != nil {
			return err
		}
		code, _, err := w.end(1)
		if err != nil {
			return err
		}
		if code != codes.NotFound {
			return conform.Fail("NOT_FOUND for the health of a service with a name of 300 KiB", code.String(), "put the pieces of a message together")
		}
		// A call between two pieces of another.
		begun := openFrame(3, w.methods, "", nil, 0)
		begun = append(begun, frame(kindBegin, 3, protowire.AppendVarint(nil, uint64(len(message)))...)...)
		begun = append(begun, frame(kindPiece, 3, message[:piece]...)...)
		if err := w.send(begun); err != nil {
			return err
		}
		return w.checkHealth(5, false)
	})
}

// wireCredit sends more than the credit that a call begins with, on a stream whose
// handler takes messages: reflection.
func (s *suite) wireCredit(ctx context.Context, c *conform.Case) error {
	return s.onOne(ctx, c, func(w *wire) error {
		w.methods++
		if err := w.send(openFrame(1, w.methods, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", nil, 0)); err != nil {
			return err
		}
		const size, messages = 20 << 10, 8
		// file_by_filename of a file that there is not: the handler answers, and goes on.
		request := protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), slices.Repeat([]byte("a"), size))
		credit := 64 << 10
		for range messages {
			for credit <= 0 {
				kind, _, payload, err := w.read()
				if err != nil {
					return conform.Fail("credit for messages that the handler has taken", err.Error(), "send frames of kind 9 as the handler takes messages")
				}
				if kind == kindEnd {
					return conform.NotApplicable("the plugin has no reflection")
				}
				if kind == kindCredit {
					more, _ := protowire.ConsumeVarint(payload)
					credit += int(more)
				}
			}
			if err := w.send(frame(kindMessage, 1, request...)); err != nil {
				return err
			}
			credit -= len(request) + 8
		}
		return w.checkHealth(3, true)
	})
}

func (s *suite) wireLate(ctx context.Context, c *conform.Case) error {
	return s.onOne(ctx, c, func(w *wire) error {
		if err := w.checkHealth(1, true); err != nil {
			return err
		}
		if err := w.send(append(frame(kindCancel, 1), frame(kindCredit, 1, 1)...)); err != nil {
			return err
		}
		return w.checkHealth(3, false)
	})
}

func (s *suite) wireBadMessage(ctx context.Context, c *conform.Case) error {
	return s.onOne(ctx, c, func(w *wire) error {
		w.methods++
		if err := w.send(openFrame(1, w.methods, healthCheck, []byte{0xff, 0xff, 0xff}, 0)); err != nil {
			return err
		}
		code, _, err := w.end(1)
		if err != nil {
			return err
		}
		if code == codes.OK {
			return conform.Fail("an error for a message that does not decode", "OK", "end the call with INTERNAL")
		}
		return w.checkHealth(3, false)
	})
}

// wireErrors sends what section 8 calls protocol errors.
func (s *suite) wireErrors(ctx context.Context, c *conform.Case) error {
	p, err := s.onWire(ctx, c)
	if err != nil {
		return err
	}
	begun := openFrame(1, 1, healthCheck, nil, 0)
	after := func(frames ...[]byte) []byte { return append(slices.Clone(begun), slices.Concat(frames...)...) }
	last := "nothing"
	for _, broken := range []struct {
		what string
		sent []byte
	}{
		{"a frame of kind 0", frame(0, 1)},
		{"a frame of kind 12", frame(12, 1)},
		{"a frame of kind 255", frame(255, 1)},
		{"hello from a host", frame(kindHello, 0)},
		{"a header from a caller", after(frame(2, 1, 0))},
		{"an end from a caller", after(frame(kindEnd, 1, 0))},
		{"a call with an even number", openFrame(2, 1, healthCheck, nil, 0)},
		{"call 0", openFrame(0, 1, healthCheck, nil, 0)},
		{"a number that is not above the last one", append(openFrame(5, 1, healthCheck, nil, 0), openFrame(3, 1, "", nil, 0)...)},
		{"a number that is open already", append(openFrame(1, 1, healthCheck, nil, 0), openFrame(1, 1, "", nil, 0)...)},
		{"a message for a call that has not begun", frame(kindMessage, 9, 0)},
		{"a method number that was not given", openFrame(1, 1, "", nil, 0)},
		{"a method number that leaves one out", openFrame(1, 2, healthCheck, nil, 0)},
		{"a method number above 4096", openFrame(1, 5000, healthCheck, nil, 0)},
		{"an open frame without a payload", frame(kindOpen, 1)},
		{"a name that is longer than the frame", frame(kindOpen, 1, flagName, 1, 0x7f, '/')},
		{"a message of more than 32 KiB in one frame", after(frameHeader(kindMessage, 1, maxMessage+1))},
		{"a half with a payload", after(frame(kindHalf, 1, 0))},
		{"a cancel with a payload", after(frameHeader(kindCancel, 1, 1<<20))},
		{"credit of 0", after(frame(kindCredit, 1, 0))},
		{"credit of 2^34", after(frame(kindCredit, 1, protowire.AppendVarint(nil, 1<<34)...))},
		{"bytes after credit", after(frame(kindCredit, 1, 1, 1))},
		{"begin of a small message", after(frame(kindBegin, 1, 100))},
		{"a piece without begin", after(frame(kindPiece, 1, 'a'))},
		{"an empty piece", after(frame(kindBegin, 1, protowire.AppendVarint(nil, 200<<10)...), frame(kindPiece, 1))},
		{"a message between pieces", after(frame(kindBegin, 1, protowire.AppendVarint(nil, 200<<10)...), frame(kindMessage, 1, 'a'))},
		{"goodbye for a call", after(frame(kindGoodbye, 1, 0))},
		{"a varint without an end", after(frame(kindCredit, 1, slices.Repeat([]byte{0xff}, 10)...))},
	} {
		w, err := p.openWire(ctx)
		if err != nil {
			return conform.Fail("the plugin serves others after "+last, err.Error(), "end the connection only")
		}
		last = broken.what
		if _, err := w.Write(broken.sent); err == nil {
			_, err = io.Copy(io.Discard, w)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				return conform.Fail("the connection ends after "+broken.what, "it stays open", "close the connection: section 8")
			}
		}
		_ = w.Close() // it has ended
	}
	w, err := p.openWire(ctx)
	if err != nil {
		return conform.Fail("the plugin serves others after broken frames", err.Error(), "end the connection only")
	}
	return w.checkHealth(1, true)
}
