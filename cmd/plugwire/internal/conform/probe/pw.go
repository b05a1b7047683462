package probe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/encoding/protowire"
)

// The kinds of frames of pw/1 (docs/wire.md, section 2).
const (
	pwOpen    = 1
	pwHeader  = 2
	pwMessage = 3
	pwBegin   = 4
	pwPiece   = 5
	pwHalf    = 6
	pwEnd     = 7
	pwCancel  = 8
	pwCredit  = 9
	pwGoodbye = 10
	pwHello   = 11
)

// pwLimits has the largest payload of each kind.
var pwLimits = map[byte]int{
	pwOpen: 4 << 20, pwHeader: 1 << 20, pwMessage: 128 << 10, pwBegin: 10, pwPiece: 256 << 10,
	pwHalf: 0, pwEnd: 6 << 20, pwCancel: 0, pwCredit: 10, pwGoodbye: 10,
}

const (
	pwHeadSize   = 8
	pwMaxMethods = 4096
	pwNameLimit  = 256 // longer names get no number
)

// pwServer serves pw/1 frame by frame.
type pwServer struct {
	p       *player
	r       *bufio.Reader
	conn    net.Conn
	methods []string // by their numbers, from 1
	last    uint32   // the host's last call
	open    map[uint32]*pwCall
	done    bool // the wire was broken
	// waiting are calls that are answered when the host has answered the probe's own.
	waiting    []func() error
	calledBack bool
}

// resume answers the calls that wait.
func (s *pwServer) resume() error {
	s.calledBack = true
	for _, next := range s.waiting {
		if err := next(); err != nil {
			return err
		}
	}
	s.waiting = nil
	return nil
}

// pwCall is a call of the host.
type pwCall struct {
	method  string
	request []byte
	whole   bool // nothing more comes
	credit  int64
}

// servePW serves a connection until its end.
func (p *player) servePW(conn net.Conn) {
	s := &pwServer{p: p, r: bufio.NewReader(conn), conn: conn, open: map[uint32]*pwCall{}}
	err := s.run()
	if wrong, ok := errors.AsType[*wireError](err); ok {
		p.report.event(Event{Kind: Wrong, Text: wrong.text})
	}
	p.report.event(Event{Kind: Closed, Text: fmt.Sprint(err)})
}

// wireError is a rule of the wire that the host breaks.
type wireError struct{ text string }

func (e *wireError) Error() string { return e.text }

func wrong(format string, args ...any) error { return &wireError{fmt.Sprintf(format, args...)} }

func (s *pwServer) run() error {
	if err := s.write(pwHello, 0); err != nil {
		return err
	}
	if s.p.scene.Extras == Callbacks {
		if err := s.callBack(); err != nil {
			return err
		}
	}
	head := make([]byte, pwHeadSize)
	for {
		if _, err := io.ReadFull(s.r, head); err != nil {
			return err
		}
		size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		kind, number := head[3], binary.LittleEndian.Uint32(head[4:])
		limit, known := pwLimits[kind]
		if !known || size > limit {
			return wrong("a frame of kind %d with %d bytes", kind, size)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(s.r, payload); err != nil {
			return err
		}
		if err := s.take(kind, number, payload); err != nil {
			return err
		}
	}
}

// write writes a frame.
func (s *pwServer) write(kind byte, number uint32, payload ...byte) error {
	n := len(payload)
	frame := binary.LittleEndian.AppendUint32([]byte{byte(n), byte(n >> 8), byte(n >> 16), kind}, number)
	_, err := s.conn.Write(append(frame, payload...))
	return err
}

// callBackNumber is the probe's call to the host: the plugin's numbers are even.
const callBackNumber = 2

// callBack calls a method that no host serves.
func (s *pwServer) callBack() error {
	open := []byte{0x01 | 0x10, 1} // a name and the only message; the method gets number 1
	return s.write(pwOpen, callBackNumber, protowire.AppendString(open, unknownMethod)...)
}

// take treats a frame.
func (s *pwServer) take(kind byte, number uint32, payload []byte) error {
	if kind == pwGoodbye {
		if number != 0 {
			return wrong("goodbye for call %d", number)
		}
		return io.EOF
	}
	if number == callBackNumber && s.p.scene.Extras == Callbacks {
		if kind == pwEnd {
			s.p.report.event(Event{Kind: CalledBack, Text: endStatus(payload)})
			return s.resume()
		}
		return nil
	}
	if kind == pwOpen {
		return s.begin(number, payload)
	}
	call, ok := s.open[number]
	if !ok {
		if number%2 == 1 && int32(s.last-number) >= 0 && number != 0 {
			return nil // it was on its way when the call ended
		}
		return wrong("a frame of kind %d for call %d, which has not begun", kind, number)
	}
	switch kind {
	case pwMessage:
		call.credit -= int64(len(payload)) + 8
		call.request = payload
	case pwHalf:
		call.whole = true
		if s.p.scene.Extras == Callbacks && !s.calledBack {
			return nil
		}
		return s.ended(number, call)
	case pwCancel:
		delete(s.open, number)
	case pwCredit:
		if v, n := protowire.ConsumeVarint(payload); n != len(payload) || v < 1 || v > 1<<33 {
			return wrong("credit % x", payload)
		}
	case pwHeader, pwEnd:
		return wrong("a frame of kind %d from the caller", kind)
	}
	return nil
}

// begin reads an open frame.
func (s *pwServer) begin(number uint32, b []byte) error {
	if number%2 == 0 || int32(number-s.last) <= 0 && s.last != 0 {
		return wrong("call %d after call %d", number, s.last)
	}
	s.last = number
	if len(b) < 1 {
		return wrong("an open frame without flags")
	}
	flags := b[0]
	if flags > 0x1f {
		return wrong("flags %#x of an open frame", flags)
	}
	b = b[1:]
	method, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return wrong("an open frame without a method")
	}
	b = b[n:]
	call := &pwCall{credit: 65536}
	part := func(flag byte, what string) ([]byte, error) {
		if flags&flag == 0 {
			return nil, nil
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return nil, wrong("an open frame whose %s does not end", what)
		}
		b = b[n:]
		return v, nil
	}
	name, err := part(1, "name")
	if err != nil {
		return err
	}
	if call.method, err = s.method(method, string(name), flags&1 != 0); err != nil {
		return err
	}
	if flags&2 != 0 {
		if _, n = protowire.ConsumeVarint(b); n < 0 {
			return wrong("an open frame whose deadline does not end")
		}
		b = b[n:]
	}
	headers := map[string][]string{}
	metadata, err := part(4, "metadata")
	if err != nil {
		return err
	}
	for len(metadata) > 0 {
		name, n := protowire.ConsumeString(metadata)
		value, m := "", -1
		if n >= 0 {
			value, m = protowire.ConsumeString(metadata[n:])
		}
		if m < 0 {
			return wrong("metadata that does not end")
		}
		headers[name] = append(headers[name], value)
		metadata = metadata[n+m:]
	}
	if _, err = part(8, "codec"); err != nil {
		return err
	}
	if flags&16 == 0 && len(b) > 0 {
		return wrong("%d bytes after the last part of an open frame", len(b))
	}
	call.request = b
	s.open[number] = call
	return s.called(number, call, headers, flags&16 != 0)
}

// method returns the name of a method by its number, and keeps a new one.
func (s *pwServer) method(number uint64, name string, named bool) (string, error) {
	if !named {
		if number < 1 || number > uint64(len(s.methods)) {
			return "", wrong("method number %d, which was not given", number)
		}
		return s.methods[number-1], nil
	}
	if number == 0 {
		return name, nil
	}
	if number != uint64(len(s.methods))+1 || number > pwMaxMethods || len(name) > pwNameLimit {
		return "", wrong("method %q gets number %d after %d", name, number, len(s.methods))
	}
	s.methods = append(s.methods, name)
	return name, nil
}

// called treats a call that has begun.
func (s *pwServer) called(number uint32, call *pwCall, headers map[string][]string, whole bool) error {
	switch {
	case call.method == controlReady && s.p.scene.Extras == Ready:
		s.p.report.event(Event{Kind: Readied})
	case s.p.scene.Extras == Callbacks && !s.calledBack && call.method != controlShutdown:
		s.waiting = append(s.waiting, func() error { return s.called(number, call, headers, whole || call.whole) })
		return nil
	case isFramework(call.method) && call.method != controlShutdown:
		delete(s.open, number)
		return s.status(number, 12)
	case call.method != controlShutdown:
		if err := s.p.call(context.Background(), call.method, headers); err != nil {
			delete(s.open, number)
			return s.status(number, 9)
		}
		if s.p.scene.Raw != NotRaw && !s.done {
			s.done = true
			err := s.breakWire(number)
			s.p.report.event(Event{Kind: Broken})
			return err
		}
	}
	if whole {
		return s.ended(number, call)
	}
	return nil
}

// ended answers a call.
func (s *pwServer) ended(number uint32, call *pwCall) error {
	delete(s.open, number)
	if s.done && s.p.scene.Raw != PWTooMuch {
		return nil // the connection is to end: nothing is answered any more
	}
	answer := empty
	switch call.method {
	case controlShutdown:
		s.p.asked(call.method, call.request)
		defer s.p.end()
	case healthCheck, healthWatch:
		answer = serving
	}
	const lastMessage = 8
	if err := s.write(pwEnd, number, append([]byte{lastMessage}, answer...)...); err != nil {
		return err
	}
	s.p.report.event(Event{Kind: Answered, Text: call.method})
	return nil
}

// status ends a call with a status.
func (s *pwServer) status(number uint32, code uint64) error {
	return s.write(pwEnd, number, endPayload(code)...)
}

// endPayload is the payload of an end frame with a status.
func endPayload(code uint64) []byte {
	status := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
	return protowire.AppendBytes([]byte{2}, status)
}

// endStatus returns the code in the payload of an end frame.
func endStatus(payload []byte) string {
	if len(payload) == 0 {
		return "an empty end frame"
	}
	flags, b := payload[0], payload[1:]
	if flags&1 != 0 {
		_, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return "an end frame that does not decode"
		}
		b = b[n:]
	}
	if flags&2 == 0 {
		return "OK"
	}
	status, n := protowire.ConsumeBytes(b)
	if n < 0 || len(status) < 2 {
		return "an end frame that does not decode"
	}
	if status[0] == 8 && status[1] == 12 {
		return "Unimplemented"
	}
	return fmt.Sprintf("status % x", status)
}

// The size of a message above the limit that every host has by default. A host with a
// higher limit does not find a message of the protocol in so many zeros.
const (
	pieceSize     = 256 << 10
	tooMuchPieces = 1025 // 256 MiB, and a piece
)

// breakWire breaks a rule in place of an answer.
func (s *pwServer) breakWire(number uint32) error {
	const hopeless = 1 << 20 // a number that no call has
	switch s.p.scene.Raw {
	case PWKind:
		return s.write(99, number)
	case PWParity:
		return s.write(pwEnd, number+1, 0)
	case PWNotBegun:
		return s.write(pwMessage, number+hopeless, 1)
	case PWHeaders:
		return errors.Join(s.write(pwHeader, number), s.write(pwHeader, number))
	case PWLong:
		_, err := s.conn.Write([]byte{0xff, 0xff, 0xff, pwMessage, byte(number), 0, 0, 0})
		return err
	case PWCredit:
		for range 8193 { // of 8 bytes each: one more than the credit allows
			if err := s.write(pwMessage, number); err != nil {
				return nil //nolint:nilerr // the host has closed the connection, as it must
			}
		}
		return nil
	case PWZero:
		return s.write(pwCredit, number, 0)
	case PWMetadata:
		return s.write(pwHeader, number, 0xff, 0xff, 0xff, 0xff, 0x7f)
	case PWPiece:
		return s.write(pwPiece, number, 1, 2, 3)
	case PWTooMuch:
		if err := s.write(pwBegin, number, protowire.AppendVarint(nil, tooMuchPieces*pieceSize)...); err != nil {
			return err
		}
		piece := make([]byte, pieceSize)
		for range tooMuchPieces {
			if err := s.write(pwPiece, number, piece...); err != nil {
				return err
			}
		}
		delete(s.open, number) // only this call ends
		return s.write(pwEnd, number, 0)
	case PWTrailing:
		return s.write(pwEnd, number, append(endPayload(0), 1, 2, 3)...)
	case PWUnnamed:
		return s.write(pwOpen, callBackNumber, 0x10, 7)
	case PWGoodbye:
		return s.write(pwGoodbye, 0, 0)
	default:
		return fmt.Errorf("there is no way %q to break pw/1", s.p.scene.Raw)
	}
}
