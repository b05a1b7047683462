package pw

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/transport"
)

// trackFrame is a frame as a track has it.
func trackFrame(k kind, payload ...byte) []byte {
	b := make([]byte, trackHeaderLen, trackHeaderLen+len(payload))
	putHeader(b, k, 0, len(payload))
	return append(b, payload...)
}

// meshPeer speaks the wire by hand, as the host or the plugin of a real endpoint whose transport
// has streams of its own.
type meshPeer struct {
	t     testing.TB
	first *meshStream
	real  *conn
}

func againstMesh(tb testing.TB, side string, svc *service, change ...func(*calls.ServerConfig)) *meshPeer {
	tb.Helper()
	ours, theirs := newMesh(tb)
	other, first := "host", uint32(2)
	if side == "host" {
		other, first = "plugin", 1
	}
	return &meshPeer{tb, ours, endpoint(tb, theirs, side, other, svc, first, change...)}
}

// open opens a track, and writes to it.
func (p *meshPeer) open(b ...byte) *rawTrack {
	p.t.Helper()
	str, err := p.first.OpenStream()
	if err != nil {
		p.t.Fatal(err)
	}
	l := &rawTrack{p.t, str}
	l.write(b)
	return l
}

// acceptOpen waits for a track of the other side, and for the call that begins on it. Before
// that, the other side may still give up the call.
func (p *meshPeer) acceptOpen() *rawTrack {
	p.t.Helper()
	l := p.accept()
	if f, err := l.next(); err != nil || f.kind != frameOpen {
		p.t.Fatalf("%v, %v, want an open frame", f, err)
	}
	return l
}

// accept waits for a track of the other side.
func (p *meshPeer) accept() *rawTrack {
	p.t.Helper()
	str, err := p.first.AcceptStream(bounded(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return &rawTrack{p.t, str}
}

func (p *meshPeer) assertLost(what string, want error) {
	p.t.Helper()
	receive(p.t, what+": the end of the connection", p.real.lost)
	p.real.mu.Lock()
	defer p.real.mu.Unlock()
	if !errors.Is(p.real.lostWith, want) {
		p.t.Errorf("%s: lost with %v, want %v", what, p.real.lostWith, want)
	}
}

// rawTrack is a track that is written and read by hand.
type rawTrack struct {
	t testing.TB
	transport.CancelableStream
}

func (l *rawTrack) write(b []byte) {
	l.t.Helper()
	if _, err := l.Write(b); err != nil {
		l.t.Fatal(err)
	}
}

func (l *rawTrack) next() (f frame, err error) {
	var header [trackHeaderLen]byte
	if _, err := io.ReadFull(l, header[:]); err != nil {
		return f, err
	}
	k, n := parseTrackHeader(header[:])
	f = frame{kind: k, payload: make([]byte, n)}
	_, err = io.ReadFull(l, f.payload)
	return f, err
}

// end reads until the call ends. again reports whether the track may carry another call.
func (l *rawTrack) end() (s *status.Status, again bool) {
	l.t.Helper()
	for {
		f, err := l.next()
		if err != nil {
			l.t.Fatal(err)
		}
		if f.kind == frameEnd {
			return endStatusOf(l.t, f.payload), f.payload[0]&endAgain != 0
		}
	}
}

// code reads until the track ends, and returns the code.
func (l *rawTrack) code() uint32 {
	l.t.Helper()
	for {
		_, err := l.next()
		if canceled, ok := errors.AsType[*transport.CanceledError](err); ok {
			return canceled.Code
		}
		if err != nil {
			l.t.Fatalf("the track ended with %v", err)
		}
	}
}

func trackOpen(method string, flags byte, more ...byte) []byte {
	return trackFrame(frameOpen, append(openPayload(method, flags), more...)...)
}

// TestTrackIsUsedAgain counts the tracks of calls that end in good order, and of others.
func TestTrackIsUsedAgain(t *testing.T) {
	t.Parallel()
	blocked := make(chan struct{}, 1)
	p := connectMesh(t, &service{unary: func(ctx context.Context, req *request) (*response, error) {
		switch string(req.GetPayload().GetBody()) {
		case "wait":
			blocked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		case "fail":
			return nil, status.Error(codes.Aborted, "as asked")
		}
		return &response{}, nil
	}}, &service{})
	opened := func() int {
		m := p.host.stream.Conn.(*meshStream).mesh
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.opened
	}
	for i := range 100 {
		if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.toPlugin.UnaryCall(bounded(t), named("fail")); status.Code(err) != codes.Aborted {
			t.Fatal(err)
		}
		if _, err := p.toPlugin.UnaryCall(bounded(t), &request{Payload: &testpb.Payload{Body: make([]byte, 200<<10)}}); err != nil {
			t.Fatal(err)
		}
		stream, err := p.toPlugin.FullDuplexCall(bounded(t))
		for range i % 3 {
			err = errors.Join(err, stream.Send(&testpb.StreamingOutputCallRequest{}))
		}
		if err = errors.Join(err, stream.CloseSend()); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if n := opened(); n != 1 {
		t.Errorf("400 calls in turn took %d tracks, want 1", n)
	}
	ctx, cancel := context.WithCancel(bounded(t))
	ended := make(chan error, 1)
	go func() {
		_, err := p.toPlugin.UnaryCall(ctx, named("wait"))
		ended <- err
	}()
	receive(t, "the handler", blocked)
	cancel()
	if err := receive(t, "the call", ended); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	for range 10 {
		if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened(); n != 2 {
		t.Errorf("%d tracks after a call that was cancelled, want 2", n)
	}
}

// TestTracksAreLetGo makes many calls at once. Afterwards each side keeps a few tracks.
func TestTracksAreLetGo(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	const many = 3 * maxIdle
	all.Add(many)
	p := connectMesh(t, &service{unary: func(context.Context, *request) (*response, error) {
		all.Done()
		all.Wait()
		return &response{}, nil
	}}, &service{})
	var callers sync.WaitGroup
	for range many {
		callers.Go(func() {
			if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	for _, c := range []*conn{p.host, p.plugin} {
		eventually(t, "few tracks", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.tracks.all) == maxIdle
		})
	}
}

// TestTrackLimit opens as many tracks as the transport allows. One call more has not begun.
func TestTrackLimit(t *testing.T) {
	t.Parallel()
	p := connectMesh(t, holding(), &service{})
	m := p.host.stream.Conn.(*meshStream).mesh
	m.mu.Lock()
	m.limit = 3
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	for range 3 {
		if _, err := p.toPlugin.FullDuplexCall(ctx); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.toPlugin.UnaryCall(bounded(t), &request{})
	assertExhausted(t, "one more", err)
	if !calls.NotBegun(err) {
		t.Errorf("%v: not marked as not begun", err)
	}
}

// TestCallsAboveTheLimitOnTracks opens more calls than may run. Each gets its answer, also if it
// still sends.
func TestCallsAboveTheLimitOnTracks(t *testing.T) {
	t.Parallel()
	const most = 4
	p := againstMesh(t, "plugin", holding())
	p.real.mu.Lock()
	p.real.server.maxStreams = most
	p.real.mu.Unlock()
	for range most {
		p.open(trackOpen(duplexName, 0)...)
	}
	eventually(t, "the handlers run", func() bool {
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return len(p.real.served) == most
	})
	l := p.open(trackOpen(unaryName, openMessage)...)
	for range 3 { // on the same track
		s, again := l.end()
		if s.Code() != codes.ResourceExhausted || !calls.NotBegun(s.Err()) || !again {
			t.Errorf("%v, again: %t", s, again)
		}
		l.write(trackOpen(unaryName, openMessage))
	}
	l = p.open(trackOpen(duplexName, 0)...)
	if s, again := l.end(); s.Code() != codes.ResourceExhausted || !calls.NotBegun(s.Err()) || again {
		t.Errorf("%v, again: %t", s, again)
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want %v", err, io.EOF)
	}
	receive(t, "the end of the other direction", l.Context().Done())
}

// TestTracksThatSayNothing opens tracks with nothing, and with half of a large open frame. Their
// memory is bounded, and calls go on.
func TestTracksThatSayNothing(t *testing.T) {
	const tracks, large = 200, 1 << 20
	p := againstMesh(t, "plugin", &service{}, limited(calls.Limits{Buffered: 8 * large}))
	p.real.server.room.limit = 8 * large
	before := heap()
	refused := 0
	var open []*rawTrack
	for range tracks {
		p.open()
		open = append(open, p.open(append([]byte{0, 0, large >> 16, byte(frameOpen)}, make([]byte, 10)...)...))
	}
	eventually(t, "most are refused", func() bool {
		refused = 0
		for _, l := range open {
			if l.Context().Err() != nil {
				refused++
			}
		}
		return refused >= tracks-8
	})
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the memory in use has grown by %d MiB", grown>>20)
	}
	for _, l := range open {
		if l.Context().Err() == nil {
			l.Cancel(trackCanceled)
		} else if code := l.code(); code != trackNoRoom {
			t.Errorf("code %d, want %d", code, trackNoRoom)
		}
	}
	eventually(t, "the room is free", func() bool { return p.real.server.room.held.Load() == 0 })
	if s, _ := p.open(trackOpen(unaryName, openMessage)...).end(); s.Code() != codes.OK {
		t.Errorf("a call after that: %v", s)
	}
}

// TestGoodbyeOnTracks says goodbye before the answers of calls have arrived. They still count, and
// calls that come later have not begun.
func TestGoodbyeOnTracks(t *testing.T) {
	t.Parallel()
	p := againstMesh(t, "host", &service{})
	client := testpb.NewTestServiceClient(p.real)
	failLost(p.real)
	answered, refused := make(chan error, 1), make(chan error, 2)
	go func() {
		_, err := client.UnaryCall(bounded(t), &request{})
		answered <- err
	}()
	first := p.acceptOpen()
	stream, err := client.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	second := p.acceptOpen()
	go func() {
		_, err := client.UnaryCall(bounded(t), &request{})
		refused <- err
	}()
	third := p.acceptOpen()
	if _, err := p.first.Write(encoded(frameGoodbye, 0, 0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "goodbye", func() bool {
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return p.real.goodbye
	})
	go func() {
		_, err := client.UnaryCall(bounded(t), &request{})
		refused <- err
	}()
	select {
	case <-p.real.lost:
		t.Error("the connection ends before its calls")
	default:
	}
	third.Cancel(trackRefused)
	second.write(append(trackFrame(frameMessage), trackFrame(frameEnd, 0)...)) // nobody reads the stream
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	first.write(trackFrame(frameEnd, endMessage))
	receive(t, "the end of the connection", p.real.lost)
	if err := receive(t, "the call that was answered", answered); err != nil {
		t.Error(err)
	}
	for range 2 { // the one that was refused, and the one after goodbye
		if err := receive(t, "a call that has not begun", refused); status.Code(err) != codes.Unavailable || !calls.NotBegun(err) {
			t.Errorf("a call that has not begun: %v", err)
		}
	}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("the message of the stream: %v", err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of the stream: %v", err)
	}
}

// failLost does for a connection what its owner does.
func failLost(c *conn) {
	go func() {
		<-c.Lost()
		c.Fail(net.ErrClosed)
	}()
}

// TestStopOnTracks stops a plugin in the middle of calls, which all end.
func TestStopOnTracks(t *testing.T) {
	t.Parallel()
	release, begun := make(chan struct{}), make(chan struct{}, 8)
	p := connectMesh(t, &service{unary: func(context.Context, *request) (*response, error) {
		begun <- struct{}{}
		<-release
		return &response{}, nil
	}}, &service{})
	failLost(p.host)
	failLost(p.plugin)
	ended := make(chan error, 8)
	for range 8 {
		go func() {
			_, err := p.toPlugin.UnaryCall(bounded(t), &request{})
			ended <- err
		}()
		receive(t, "a handler", begun)
	}
	drained := make(chan error, 1)
	go func() { drained <- p.plugin.server.Drain(bounded(t)) }()
	close(release)
	if err := receive(t, "Drain", drained); err != nil {
		t.Error(err)
	}
	if err := p.plugin.server.Stop(bounded(t), hang); err != nil {
		t.Error(err)
	}
	for range 8 {
		if err := receive(t, "a call", ended); err != nil {
			t.Error(err)
		}
	}
}

// TestDeadlineOnTracks blocks handlers in what they receive and send until their deadline.
func TestDeadlineOnTracks(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(stream duplex) error{
		"receiving": func(stream duplex) error {
			_, err := stream.Recv()
			return err
		},
		"sending": func(stream duplex) error {
			for {
				if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 100<<10)}}); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			p := againstMesh(t, "plugin", &service{duplex: func(stream duplex) error {
				err := block(stream)
				ended <- err
				return err
			}})
			l := p.open(trackOpen(duplexName, openDeadline, uvarintOf(20_000)...)...)
			if err := receive(t, "the handler", ended); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the handler got %v, want %v", err, codes.DeadlineExceeded)
			}
			if s, _ := l.end(); s.Code() != codes.DeadlineExceeded {
				t.Errorf("the caller got %v", s)
			}
		})
	}
}

// TestServerEndsTrack ends tracks of a caller in ways that the rules allow, and in others.
func TestServerEndsTrack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(l *rawTrack)
		code codes.Code
		lost bool
	}{
		"with code 16":     {func(l *rawTrack) { l.Cancel(trackCanceled) }, codes.Canceled, false},
		"with code 17":     {func(l *rawTrack) { l.Cancel(trackRefused) }, codes.Unavailable, true},
		"with code 18":     {func(l *rawTrack) { l.Cancel(trackNoRoom) }, codes.ResourceExhausted, false},
		"with code 19":     {func(l *rawTrack) { l.Cancel(trackLost) }, codes.Unavailable, true},
		"without an end":   {func(l *rawTrack) { _ = l.Close() }, codes.Unavailable, true},
		"within a message": {func(l *rawTrack) { l.write(trackFrame(frameMessage, 1, 2)[:5]); _ = l.Close() }, codes.Unavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := againstMesh(t, "host", &service{})
			failLost(p.real)
			ended := make(chan error, 1)
			go func() {
				_, err := testpb.NewTestServiceClient(p.real).UnaryCall(bounded(t), &request{})
				ended <- err
			}()
			tt.end(p.accept())
			if name == "with code 17" { // the error says why the connection ends, as it does then
				eventually(t, "the call is over", func() bool {
					p.real.mu.Lock()
					defer p.real.mu.Unlock()
					return len(p.real.made) == 0
				})
				if err := p.first.Close(); err != nil {
					t.Error(err)
				}
				receive(t, "the end of the connection", p.real.lost)
			}
			err := receive(t, "the call", ended)
			if status.Code(err) != tt.code || p.real.Broken() != tt.lost {
				t.Errorf("%v, want %v; lost: %t, want %t", err, tt.code, p.real.Broken(), tt.lost)
			}
			if begun := name != "with code 17" && name != "with code 18"; calls.NotBegun(err) == begun {
				t.Errorf("%v: marked as not begun: %t", err, !begun)
			}
		})
	}
}

// TestTrackProtocolErrors sends what breaks the rules of a track. Each is the end of the connection.
func TestTrackProtocolErrors(t *testing.T) {
	t.Parallel()
	open := trackOpen(duplexName, 0)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, sent := range map[string][]byte{
		"kind 0":                               trackFrame(0),
		"a kind that is not known":             trackFrame(12),
		"a message before a call":              trackFrame(frameMessage),
		"credit":                               join(open, trackFrame(frameCredit, 1)),
		"cancel":                               join(open, trackFrame(frameCancel)),
		"goodbye":                              trackFrame(frameGoodbye, 0),
		"hello":                                trackFrame(frameHello),
		"a method by its number":               trackFrame(frameOpen, 0, 1),
		"a number for a method":                trackFrame(frameOpen, append([]byte{openNewMethod, 1, 1}, 'x')...),
		"a name that is too long":              trackFrame(frameOpen, appendString([]byte{openNewMethod, 0}, strings.Repeat("x", maxMethod+1))...),
		"an open frame that is too large":      {0xff, 0xff, 0xff, byte(frameOpen)},
		"a second open frame":                  join(open, open),
		"a header of the caller":               join(open, trackFrame(frameHeader)),
		"an end of the caller":                 join(open, trackFrame(frameEnd, 0)),
		"a piece of no message":                join(open, trackFrame(framePiece, 0)),
		"a large message that is small":        join(open, trackFrame(frameBegin, uvarintOf(smallMessage)...)),
		"a message within another":             join(open, trackFrame(frameBegin, uvarintOf(1<<20)...), trackFrame(frameMessage)),
		"a message that is too large":          join(open, []byte{1, 0, 2, byte(frameMessage)}),
		"the last message within another":      join(open, trackFrame(frameBegin, uvarintOf(1<<20)...), trackFrame(frameHalf)),
		"a message after the only one":         join(trackOpen(unaryName, openMessage), trackFrame(frameMessage)),
		"bytes after an open frame":            trackOpen(duplexName, 0, 1),
		"metadata that ends early":             trackOpen(duplexName, openMetadata, 2, 1, 'x'),
		"an open frame that is empty":          trackFrame(frameOpen),
		"a half with a payload":                join(open, trackFrame(frameHalf, 0)),
		"a frame on the first stream":          nil,
		"a call on the first stream (ignored)": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := againstMesh(t, "plugin", &service{})
			switch {
			case sent != nil:
				p.open(sent...)
			case strings.Contains(name, "call"):
				_, _ = p.first.Write(encoded(frameOpen, 1, openPayload(unaryName, openMessage)...))
			default:
				_, _ = p.first.Write(encoded(frameHalf, 1))
			}
			p.assertLost(name, errProtocol)
		})
	}
}

// TestCallerEndsTrack ends tracks from the caller's side. The handler sees the end of its context,
// and the connection goes on.
func TestCallerEndsTrack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(l *rawTrack){
		"with a code":      func(l *rawTrack) { l.Cancel(trackCanceled) },
		"with any code":    func(l *rawTrack) { l.Cancel(12345) },
		"without a half":   func(l *rawTrack) { _ = l.Close() },
		"within a message": func(l *rawTrack) { l.write(trackFrame(frameMessage, 1, 2)[:5]); _ = l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			p := againstMesh(t, "plugin", &service{duplex: func(stream duplex) error {
				_, err := stream.Recv()
				<-stream.Context().Done()
				ended <- err
				return err
			}})
			l := p.open(trackOpen(duplexName, 0)...)
			eventually(t, "the handler", func() bool {
				p.real.mu.Lock()
				defer p.real.mu.Unlock()
				return len(p.real.served) == 1
			})
			end(l)
			if err := receive(t, "the handler", ended); status.Code(err) != codes.Canceled {
				t.Errorf("%v, want %v", err, codes.Canceled)
			}
			if s, _ := p.open(trackOpen(unaryName, openMessage)...).end(); s.Code() != codes.OK {
				t.Errorf("a call after that: %v", s)
			}
		})
	}
}

// TestHandlerIsOutlivedByAReader returns from a handler while a goroutine of it receives. The
// caller's last frame comes between the return and the status. The goroutine still reads the
// track, so that the track must not carry another call: the goroutine would take its beginning.
func TestHandlerIsOutlivedByAReader(t *testing.T) {
	t.Parallel()
	received, leave := make(chan error, 1), make(chan struct{})
	p := againstMesh(t, "plugin", &service{duplex: func(stream duplex) error {
		go func() {
			_, err := stream.Recv()
			received <- err
		}()
		<-leave
		return nil
	}})
	l := p.open(trackOpen(duplexName, 0)...)
	var h *handling
	eventually(t, "a goroutine reads", func() bool {
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		for _, h = range p.real.served {
			return h.l.reading
		}
		return false
	})
	h.ctx.sending.Lock() // the status waits for it
	close(leave)
	is := func(what string, f func() bool) {
		eventually(t, what, func() bool {
			p.real.mu.Lock()
			defer p.real.mu.Unlock()
			return f()
		})
	}
	is("the handler has returned", func() bool { return h.gone })
	l.write(trackFrame(frameHalf))
	is("the last frame is read", func() bool { return h.l.halved })
	h.ctx.sending.Unlock()
	if s, again := l.end(); s.Code() != codes.OK || again {
		t.Errorf("%v, and another call may begin: %t", s, again)
	}
	if err := receive(t, "the goroutine's message", received); err == nil {
		t.Error("the goroutine gets a message")
	}
}

// TestLateDeadlineOnATrack sets the deadline of a read as the context of a call does, whose function
// runs after the call has ended. The track carries another call.
func TestLateDeadlineOnATrack(t *testing.T) {
	t.Parallel()
	p := againstMesh(t, "plugin", &service{})
	l := p.open(trackOpen(unaryName, openMessage)...)
	if s, again := l.end(); s.Code() != codes.OK || !again {
		t.Fatalf("%v, and another call may begin: %t", s, again)
	}
	p.real.mu.Lock()
	for track := range p.real.tracks.all {
		_ = track.str.SetReadDeadline(past)
	}
	p.real.mu.Unlock()
	l.write(trackOpen(unaryName, openMessage))
	if s, again := l.end(); s.Code() != codes.OK || !again {
		t.Errorf("%v, and another call may begin: %t", s, again)
	}
}
