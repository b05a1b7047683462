package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawServer serves gRPC on HTTP/2 frame by frame, so that it can break any rule.
type rawServer struct {
	p       *player
	conn    net.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	methods map[uint32]string // of streams that are not answered
	done    bool              // the wire was broken
	flooded uint32            // stream whose answer waits for the end of the flood; 0 for none
}

// maxRequestHeaders bounds the headers of a call, as that of every plugin.
const maxRequestHeaders = 1 << 20

// serveRaw serves a connection until its end.
func (p *player) serveRaw(conn net.Conn) {
	s := &rawServer{p: p, conn: conn, framer: http2.NewFramer(conn, conn), methods: map[uint32]string{}}
	s.encoder = hpack.NewEncoder(&s.block)
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.framer.MaxHeaderListSize = maxRequestHeaders
	s.framer.AllowIllegalWrites = true
	err := s.run()
	p.report.event(Event{Kind: Closed, Text: fmt.Sprint(err)})
}

func (s *rawServer) run() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.conn, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		s.p.report.event(Event{Kind: Wrong, Text: fmt.Sprintf("the host's HTTP/2 begins with %q", preface)})
		return errors.New("no preface")
	}
	if s.p.scene.Raw == H2Garbage {
		if _, err := s.conn.Write(bytes.Repeat([]byte("this is not HTTP/2\r\n"), 1000)); err != nil {
			return err
		}
		s.p.report.event(Event{Kind: Broken})
		_, err := io.Copy(io.Discard, s.conn)
		return err
	}
	if err := s.framer.WriteSettings(); err != nil {
		return err
	}
	if err := s.framer.WritePing(false, [8]byte{'c', 'o', 'n', 'f', 'o', 'r', 'm'}); err != nil {
		return err
	}
	for {
		f, err := s.framer.ReadFrame()
		if err != nil {
			return err
		}
		if err := s.take(f); err != nil {
			return err
		}
	}
}

// take treats a frame.
func (s *rawServer) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return s.framer.WriteSettingsAck()
		}
		if s.flooded == 0 {
			s.p.report.event(Event{Kind: Seen, Text: "SETTINGS acknowledged"})
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return s.framer.WritePing(true, f.Data)
		}
		if f.Data == lastPing {
			stream := s.flooded
			s.flooded = 0
			return s.ended(stream)
		}
		if s.flooded == 0 {
			s.p.report.event(Event{Kind: Seen, Text: "PING answered"})
		}
	case *http2.MetaHeadersFrame:
		return s.headers(f)
	case *http2.DataFrame:
		if n := uint32(len(f.Data())); n > 0 {
			if err := s.framer.WriteWindowUpdate(0, n); err != nil {
				return err
			}
		}
		if f.StreamEnded() {
			return s.ended(f.StreamID)
		}
	}
	return nil
}

// headers begins a call.
func (s *rawServer) headers(f *http2.MetaHeadersFrame) error {
	method := f.PseudoValue("path")
	if isFramework(method) {
		if method != s.p.shutdownMethod() {
			return s.trailersOnly(f.StreamID, "12")
		}
		s.methods[f.StreamID] = method
	} else {
		headers := map[string][]string{}
		for _, field := range f.Fields {
			headers[field.Name] = append(headers[field.Name], field.Value)
		}
		if err := s.p.call(context.Background(), method, headers); err != nil {
			return err
		}
		s.methods[f.StreamID] = method
		if s.p.scene.Raw != H2Right && !s.done {
			if err := s.breakWire(f.StreamID); err != nil {
				return err
			}
		}
	}
	if f.StreamEnded() {
		return s.ended(f.StreamID)
	}
	return nil
}

// ended answers a call whose request has come.
func (s *rawServer) ended(stream uint32) error {
	method, ok := s.methods[stream]
	if !ok || stream == s.flooded {
		return nil
	}
	delete(s.methods, stream)
	if method == s.p.shutdownMethod() {
		s.p.asked(method, nil)
		defer s.p.end()
	}
	answer := empty
	if method == healthCheck {
		answer = serving
	}
	if err := s.answer(stream, answer); err != nil {
		return err
	}
	s.p.report.event(Event{Kind: Answered, Text: method})
	return nil
}

// answer answers a call with a message and status OK.
func (s *rawServer) answer(stream uint32, message []byte) error {
	data := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return errors.Join(
		s.write(stream, false, ":status", "200", "content-type", "application/grpc"),
		s.framer.WriteData(stream, false, append(data, message...)),
		s.write(stream, true, "grpc-status", "0"),
	)
}

// trailersOnly answers a call with a status.
func (s *rawServer) trailersOnly(stream uint32, status string) error {
	return s.write(stream, true, ":status", "200", "content-type", "application/grpc", "grpc-status", status)
}

// write writes a frame of headers, given as names and values.
func (s *rawServer) write(stream uint32, end bool, fields ...string) error {
	s.block.Reset()
	for pair := range slices.Chunk(fields, 2) {
		if err := s.encoder.WriteField(hpack.HeaderField{Name: pair[0], Value: pair[1]}); err != nil {
			return err
		}
	}
	return s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: s.block.Bytes(), EndStream: end, EndHeaders: true})
}

// The sizes of what breaks the wire.
const (
	hugeFrame     = 1 << 20   // frames of HTTP/2 may have 16 KiB, unless a side allows more
	endlessBlocks = 16_384    // of 16 KiB each, without an end
	floods        = 20_000    // pings and settings
	tooMuchCredit = 1<<31 - 1 // on top of what there is
)

// breakWire breaks HTTP/2, or gRPC on it, in place of an answer. The call is answered only
// after what a host must bear.
func (s *rawServer) breakWire(stream uint32) error {
	s.done = true
	err := s.breakStream(stream)
	s.p.report.event(Event{Kind: Broken})
	s.p.weigh()
	switch way := s.p.scene.Raw; {
	case way == H2GoAway:
		return errors.Join(err, s.conn.Close())
	case err == nil && (way == H2Flood || way == H2Window):
		return nil // the call is answered when its request has come
	default:
		delete(s.methods, stream)
		return err
	}
}

func (s *rawServer) breakStream(stream uint32) error {
	begin := func() error { return s.write(stream, false, ":status", "200", "content-type", "application/grpc") }
	switch s.p.scene.Raw {
	case H2Reset:
		return s.framer.WriteRSTStream(stream, http2.ErrCodeInternal)
	case H2GoAway:
		return s.framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	case H2NoStatus:
		return errors.Join(begin(), s.write(stream, true, "x-trailer", "without a status"))
	case H2OddStatus:
		return s.trailersOnly(stream, "ninety")
	case H2HTTPError:
		return errors.Join(
			s.write(stream, false, ":status", "502", "content-type", "text/html"),
			s.framer.WriteData(stream, true, []byte("<html>Bad Gateway</html>")))
	case H2Giant:
		return errors.Join(begin(), s.framer.WriteData(stream, false, []byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3}))
	case H2Frame:
		return errors.Join(begin(), s.framer.WriteData(stream, false, make([]byte, hugeFrame)))
	case H2Window:
		return errors.Join(s.framer.WriteWindowUpdate(0, tooMuchCredit), s.framer.WriteWindowUpdate(0, tooMuchCredit))
	case H2Headers:
		return s.endlessHeaders(stream)
	case H2Flood:
		s.flooded = stream
		go flood(s.conn) // until the end of the flood, or of the connection
		return nil
	default:
		return fmt.Errorf("there is no way %q to break HTTP/2", s.p.scene.Raw)
	}
}

// endlessHeaders sends headers that do not end. The host may close the connection in the
// middle, which is not an error here.
func (s *rawServer) endlessHeaders(stream uint32) error {
	s.block.Reset()
	value := strings.Repeat("h", 15_000)
	if err := errors.Join(
		s.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"}),
		s.encoder.WriteField(hpack.HeaderField{Name: "x-long", Value: value, Sensitive: true}),
	); err != nil {
		return err
	}
	if err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: s.block.Bytes()}); err != nil {
		return err
	}
	for range endlessBlocks {
		s.block.Reset()
		if err := s.encoder.WriteField(hpack.HeaderField{Name: "x-long", Value: value, Sensitive: true}); err != nil {
			return err
		}
		if err := s.framer.WriteContinuation(stream, false, s.block.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// lastPing is the end of a flood. The host answers frames in their order.
var lastPing = [8]byte{'l', 'a', 's', 't'}

// flood sends many small frames that the host must answer, while the answers are read. It
// has a framer of its own, because that of the server writes too.
func flood(conn net.Conn) {
	framer := http2.NewFramer(conn, nil)
	for i := range floods {
		err := framer.WritePing(false, [8]byte{byte(i), byte(i >> 8)})
		if err == nil && i%10 == 0 {
			err = framer.WriteSettings()
		}
		if err != nil {
			return // the host has closed the connection, which it may
		}
	}
	_ = framer.WritePing(false, lastPing) // the same
}
