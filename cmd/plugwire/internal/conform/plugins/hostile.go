package plugins

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
)

// hostileRules are about peers that break every rule. The plugin must go on for others.
func (s *suite) hostileRules() []conform.Rule {
	return []conform.Rule{
		{
			Section: "protocol 15", Name: "silent-connections", Profiles: all, Needs: []string{needHealth},
			Title: "50 connections that say nothing do not keep others out.",
			Check: s.silentConnections,
		},
		{
			Section: "protocol 11", Name: "garbage", Profiles: all, Needs: []string{needHealth},
			Title: "Bytes that are not HTTP/2 end their connection only.",
			Check: s.garbage,
		},
		{
			Section: "protocol 11", Name: "broken-frames", Profiles: all, Needs: []string{needHealth},
			Title: "Broken frames of HTTP/2 end their connection only.",
			Check: s.brokenFrames,
		},
		{
			Section: "protocol 11", Name: "broken-messages", Profiles: all, Needs: []string{needHealth},
			Title: "A message that is not what its length or its type says ends its call only.",
			Check: s.brokenMessages,
		},
		{
			Section: "protocol 11", Name: "flood", Profiles: all, Needs: []string{needHealth},
			Title: "A peer that floods the plugin and does not read does not keep others out.",
			Check: s.flood,
		},
		{
			Section: "protocol 9", Name: "preamble-forms", Needs: []string{needFields},
			Title: "The plugin reads a preamble of either version, in pieces or with more behind it.",
			Check: s.preambleForms,
		},
		{
			Section: "protocol 9", Name: "broken-preamble", Needs: []string{needFields},
			Title: "A stream that does not begin with a preamble is closed, and others are served.",
			Check: s.brokenPreamble,
		},
		{
			Section: "protocol 9", Name: "half-preamble", Needs: []string{needFields},
			Title: "A stream with half of a preamble keeps no other stream waiting.",
			Check: func(ctx context.Context, c *conform.Case) error {
				p, err := s.start(ctx, c, ours())
				if err != nil {
					return err
				}
				conn, err := p.dial(ctx)
				if err != nil {
					return err
				}
				if _, err := io.WriteString(conn, preambleMagic[:5]); err != nil {
					return err
				}
				return p.serves(ctx, "while another stream has sent half of its preamble")
			},
		},
	}
}

func (s *suite) silentConnections(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	const silent = 50 // fewer than the 64 that section 15 lets wait
	for range silent {
		if _, err := p.dial(ctx); err != nil {
			return err
		}
	}
	return p.serves(ctx, "while 50 connections say nothing")
}

// throw sends bytes on a connection of its own, and reads what comes until the plugin
// closes it or a moment has passed.
func (p *answeredPlugin) throw(ctx context.Context, sent []byte) error {
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it may be closed
	if err := conn.SetWriteDeadline(time.Now().Add(p.suite.callTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(sent); err != nil {
		return nil
	}
	const moment = 50 * time.Millisecond
	if err := conn.SetReadDeadline(time.Now().Add(moment)); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, conn) // until it is closed, or the moment has passed
	return nil
}

// survives throws each of some bytes at the plugin, and checks that it serves others.
func (s *suite) survives(ctx context.Context, c *conform.Case, what string, thrown ...[]byte) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	for _, sent := range thrown {
		if err := p.throw(ctx, sent); err != nil {
			return err
		}
	}
	return p.serves(ctx, "after a peer has sent "+what)
}

func (s *suite) garbage(ctx context.Context, c *conform.Case) error {
	return s.survives(ctx, c, "garbage",
		[]byte{0}, []byte("\n\n\n"), []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		bytes.Repeat([]byte{0xff}, 1<<16), bytes.Repeat([]byte("PRI * HTTP/2.0\r\n"), 1000),
		[]byte(http2.ClientPreface[:10]), []byte(preambleMagic+"\x02\x01\x00\x00\x01\x00a"),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), // TLS, cut off
	)
}

// headers returns the header of a call.
func headers(method, contentType string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "localhost"}, {"content-type", contentType}, {"te", "trailers"}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a buffer takes everything
	}
	return b.Bytes()
}

// frames builds connections with one mistake each.
func frames(mistakes ...func(f *http2.Framer, b *bytes.Buffer) error) ([][]byte, error) {
	all := make([][]byte, len(mistakes))
	var errs []error
	for i, m := range mistakes {
		var b bytes.Buffer
		b.WriteString(http2.ClientPreface)
		f := http2.NewFramer(&b, nil)
		f.AllowIllegalWrites = true
		errs = append(errs, f.WriteSettings(), m(f, &b))
		all[i] = b.Bytes()
	}
	return all, errors.Join(errs...)
}

// call begins a call of Health/Check.
func call(f *http2.Framer, stream uint32, contentType string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers(healthCheck, contentType), EndHeaders: true})
}

const grpcContent = "application/grpc"

func (s *suite) brokenFrames(ctx context.Context, c *conform.Case) error {
	thrown, err := frames(
		func(_ *http2.Framer, b *bytes.Buffer) error { // a frame of 16 MiB
			_, err := b.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1})
			return err
		},
		func(f *http2.Framer, _ *bytes.Buffer) error { // a header that is no HPACK
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bytes.Repeat([]byte{0xff}, 100), EndHeaders: true, EndStream: true})
		},
		func(f *http2.Framer, _ *bytes.Buffer) error { return f.WriteData(0, true, []byte("x")) },
		func(f *http2.Framer, _ *bytes.Buffer) error { return f.WriteData(7, true, []byte("x")) },
		func(f *http2.Framer, _ *bytes.Buffer) error { return f.WriteWindowUpdate(0, 0) },
		func(f *http2.Framer, _ *bytes.Buffer) error { // a window that is too large
			return errors.Join(f.WriteWindowUpdate(0, 1<<31-1), f.WriteWindowUpdate(0, 1<<31-1))
		},
		func(f *http2.Framer, _ *bytes.Buffer) error { return f.WriteRSTStream(99, http2.ErrCodeCancel) },
		func(f *http2.Framer, _ *bytes.Buffer) error { return f.WriteContinuation(1, true, []byte{0x82}) },
		func(f *http2.Framer, _ *bytes.Buffer) error {
			return f.WriteRawFrame(http2.FramePing, 0, 0, []byte("short"))
		},
		func(f *http2.Framer, _ *bytes.Buffer) error {
			return f.WriteRawFrame(http2.FrameSettings, 0, 0, []byte("short"))
		},
		func(f *http2.Framer, _ *bytes.Buffer) error {
			return f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		},
		func(f *http2.Framer, _ *bytes.Buffer) error {
			return f.WriteRawFrame(0xee, 0xff, 0xffffff, []byte("of no known type"))
		},
		func(f *http2.Framer, _ *bytes.Buffer) error { // numbers that go down
			return errors.Join(call(f, 5, grpcContent), call(f, 3, grpcContent))
		},
		func(f *http2.Framer, _ *bytes.Buffer) error { return call(f, 2, grpcContent) }, // a number of the server
	)
	if err != nil {
		return err
	}
	return s.survives(ctx, c, "broken frames", thrown...)
}

// grpcMessage returns a message with its prefix; length may be another than its own.
func grpcMessage(compressed byte, length uint32, message string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{compressed}, length)
	return append(b, message...)
}

func (s *suite) brokenMessages(ctx context.Context, c *conform.Case) error {
	message := func(content string, data []byte) func(f *http2.Framer, _ *bytes.Buffer) error {
		return func(f *http2.Framer, _ *bytes.Buffer) error {
			return errors.Join(call(f, 1, content), f.WriteData(1, true, data))
		}
	}
	thrown, err := frames(
		message(grpcContent, grpcMessage(0, 1<<32-1, "far too long")),
		message(grpcContent, grpcMessage(0, 100, "too short")),
		message(grpcContent, grpcMessage(1, 3, "abc")), // compressed with nothing
		message(grpcContent, grpcMessage(9, 3, "abc")),
		message(grpcContent, grpcMessage(0, 3, "\xff\xff\xff")), // no message
		message(grpcContent, grpcMessage(0, 4, "\x0a\xff\xff\x7f")),
		message(grpcContent, []byte{0, 0}),
		message(grpcContent, nil),
		message(grpcContent+"+smoke", grpcMessage(0, 0, "")),
		message("text/plain", []byte("hello")),
		message("", nil),
	)
	if err != nil {
		return err
	}
	return s.survives(ctx, c, "broken messages", thrown...)
}

// flood sends frames that each want an answer, and reads none of them.
func (s *suite) flood(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, offer{})
	if err != nil {
		return err
	}
	const repeated = 2000
	thrown, err := frames(
		func(f *http2.Framer, _ *bytes.Buffer) error {
			for range repeated {
				if err := f.WritePing(false, [8]byte{}); err != nil {
					return err
				}
			}
			return nil
		},
		func(f *http2.Framer, _ *bytes.Buffer) error {
			for range repeated {
				if err := f.WriteSettings(); err != nil {
					return err
				}
			}
			return nil
		},
		func(f *http2.Framer, _ *bytes.Buffer) error { // calls that are given up at once
			for i := range uint32(repeated) {
				if err := errors.Join(call(f, 2*i+1, grpcContent), f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)); err != nil {
					return err
				}
			}
			return nil
		},
	)
	if err != nil {
		return err
	}
	for _, sent := range thrown {
		conn, err := p.dial(ctx) // it stays open, and nobody reads
		if err != nil {
			return err
		}
		const moment = 500 * time.Millisecond // a plugin that does not read either lets the write wait
		if err := conn.SetWriteDeadline(time.Now().Add(moment)); err != nil {
			return err
		}
		_, _ = conn.Write(sent) // the plugin may have closed it
	}
	return p.serves(ctx, "while a peer floods it")
}

// pieces writes each byte on its own.
func pieces(conn net.Conn, b []byte) error {
	for i := range b {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) preambleForms(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, ours("security", "peercred"))
	if err != nil {
		return err
	}
	first := makePreamble(1, purposeCalls, "", "")
	second := makePreamble(2, purposeCalls, "", p.offer.plugwire["instance"])
	settings, err := frames(func(*http2.Framer, *bytes.Buffer) error { return nil })
	if err != nil {
		return err
	}
	forms := []struct {
		name  string
		write func(net.Conn) error
	}{
		{"of version 1", func(c net.Conn) error { _, err := c.Write(first); return err }},
		{"in pieces", func(c net.Conn) error { return pieces(c, first) }},
		{"of version 2", func(c net.Conn) error { _, err := c.Write(second); return err }},
	}
	for _, form := range forms {
		if form.name == "of version 2" && p.extended["preamble"] < "2" {
			continue
		}
		conn, err := p.dial(ctx)
		if err != nil {
			return err
		}
		err = form.write(conn)
		answered := false
		if err == nil {
			answered, err = speaks(conn)
		}
		if err != nil || !answered {
			return conform.Fail("a stream with a preamble "+form.name+" is served", "it is closed", "read the preamble as section 9 describes it, however it arrives")
		}
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(first, settings[0]...)); err != nil {
		return err
	}
	if _, err := http2.NewFramer(nil, conn).ReadFrame(); err != nil {
		return conform.Fail("a stream is served whose preamble and first frame come together", err.Error(), "read no byte beyond the preamble")
	}
	return nil
}

func (s *suite) brokenPreamble(ctx context.Context, c *conform.Case) error {
	p, err := s.start(ctx, c, ours("security", "peercred"))
	if err != nil {
		return err
	}
	reserved := makePreamble(1, purposeCalls, "", "")
	reserved[15] = 1
	long := makePreamble(1, 3, "", "")
	long[12] = 1 // 256 bytes of name
	for _, broken := range []struct {
		what  string
		bytes []byte
	}{
		{"HTTP/2 without a preamble", []byte(http2.ClientPreface)},
		{"another magic", append([]byte("\x00PLUGWARE\n"), reserved[10:]...)},
		{"version 9", makePreamble(9, purposeCalls, "", "")},
		{"version 0", makePreamble(0, purposeCalls, "", "")},
		{"a purpose that is not known", makePreamble(1, 77, "", "")},
		{"a reserved byte", reserved},
		{"a name for calls", makePreamble(1, purposeCalls, "name", "")},
		{"a name of 256 bytes", append(long, make([]byte, 256)...)},
		{"version 1 with an identity", makePreamble(1, purposeCalls, "", "identity")},
		{"version 2 without an identity", makePreamble(2, purposeCalls, "", "")},
	} {
		conn, err := p.dial(ctx)
		if err != nil {
			return err
		}
		if _, err := conn.Write(broken.bytes); err != nil {
			continue // closed
		}
		answered, err := speaks(conn)
		if err != nil || answered {
			seen := "it is served"
			if err != nil {
				seen = "it stays open"
			}
			return conform.Fail("a stream that begins with "+broken.what+" is closed", seen, "check each byte of the preamble")
		}
	}
	return p.serves(ctx, "after streams with broken preambles")
}
