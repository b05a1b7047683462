package h2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// limited changes the limits of the server of a pair.
func limited(l calls.Limits) func(client *clientConfig, server *serverConfig) {
	return func(_ *clientConfig, server *serverConfig) { server.Limits = l }
}

// holding is a service whose streams answer once and then wait for their end, and
// whose unary calls return what they got.
func holding() *service {
	return &service{duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
}

// open opens a stream of a holding service. The error is that of its first answer.
func open(ctx context.Context, p *pair) error {
	stream, err := p.FullDuplexCall(ctx)
	if err == nil {
		_, err = stream.Recv()
	}
	return err
}

func assertExhausted(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%s: %v, want %v", what, err, codes.ResourceExhausted)
	}
	for _, word := range words {
		if !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%s: %q is not in %v", what, word, err)
		}
	}
}

func TestMaxCalls(t *testing.T) {
	const limit = 3
	p := connect(t, holding(), limited(calls.Limits{Calls: limit}))
	var ends []context.CancelFunc
	for range limit {
		ctx, cancel := context.WithCancel(bounded(t))
		defer cancel()
		ends = append(ends, cancel)
		if err := open(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	words := []string{"3 calls of the host", "plugin.WithMaxCalls"}
	assertExhausted(t, "a stream over the limit", open(bounded(t), p), words...)
	_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
	assertExhausted(t, "a unary call over the limit", err, words...)
	if _, err := healthpb.NewHealthClient(p.client).Check(bounded(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a call of the framework's own: %v", err)
	}
	ends[0]()
	for {
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
		if err == nil {
			break
		}
		assertExhausted(t, "until a call has ended", err)
		if t.Failed() {
			break
		}
	}
}

// TestFarTooManyCalls opens many more calls at once than are allowed. No call waits,
// although the first ones do not end.
func TestFarTooManyCalls(t *testing.T) {
	const limit = 8
	p := connect(t, holding(), limited(calls.Limits{Calls: limit}))
	var let, refused atomic.Int32
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			switch err := open(bounded(t), p); status.Code(err) {
			case codes.OK:
				let.Add(1)
			case codes.ResourceExhausted:
				refused.Add(1)
			default:
				t.Errorf("a call: %v", err)
			}
		})
	}
	all.Wait()
	if let.Load() != limit || refused.Load() != 1000-limit {
		t.Errorf("%d calls were let in and %d refused, want %d of 1000 in", let.Load(), refused.Load(), limit)
	}
}

// TestNestedCalls checks that the limit ends calls that two sides nest without an end, and
// that the default limit lets a thousand callers nest their calls.
func TestNestedCalls(t *testing.T) {
	var there, back *pair
	relay := func(next **pair) *service {
		return &service{unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if req.GetResponseSize() == 0 {
				return &testpb.SimpleResponse{}, nil
			}
			return (*next).UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: req.GetResponseSize() - 1})
		}}
	}
	there = connect(t, relay(&back))
	back = connect(t, relay(&there))
	_, err := there.UnaryCall(bounded(t), &testpb.SimpleRequest{ResponseSize: -1})
	assertExhausted(t, "calls without an end", err, "WithMaxCalls")

	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if _, err := there.UnaryCall(bounded(t), &testpb.SimpleRequest{ResponseSize: 3}); err != nil {
				t.Errorf("nested calls: %v", err)
			}
		})
	}
	all.Wait()
}

func TestMaxControlStreams(t *testing.T) {
	p := connect(t, holding())
	client := healthpb.NewHealthClient(p.client)
	watch := func(ctx context.Context) error {
		stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for range 128 {
		if err := watch(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	assertExhausted(t, "one more", watch(bounded(t)), "128 streams of the framework's own services")
	if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
		t.Errorf("a call of the application: %v", err)
	}
}

func TestMaxConnections(t *testing.T) {
	var address net.Addr
	p := connect(t, holding(), func(_ *clientConfig, server *serverConfig) { address = server.Listener.Addr() })
	conns := make([]net.Conn, 200)
	for i := range conns {
		conn, err := net.Dial(address.Network(), address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	ended := 0
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(hang)); err != nil {
			t.Fatal(err)
		}
		// What the server says first, or the end: it says nothing before it is asked.
		if _, err := io.Copy(io.Discard, io.LimitReader(conn, 1)); err != nil {
			ended++
		} else if n, _ := conn.Read(make([]byte, 1)); n == 0 {
			ended++
		}
	}
	if want := len(conns) - 63; ended != want {
		t.Errorf("%d of %d connections were ended, want %d", ended, len(conns), want)
	}
	if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
		t.Errorf("a call on the first: %v", err)
	}
}

// TestMaxBuffered announces large messages and sends little of them. The first calls take
// the room, until they end.
func TestMaxBuffered(t *testing.T) {
	const size = 1 << 20
	p := connect(t, &service{}, limited(calls.Limits{Buffered: 3 * size}))
	large := func(n int) *testpb.SimpleRequest {
		return &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, n)}}
	}
	if _, err := p.UnaryCall(bounded(t), large(2*size)); err != nil {
		t.Fatalf("alone: %v", err)
	}
	h := dialHostile(t, p)
	for range 3 {
		h.call("/grpc.testing.TestService/UnaryCall")
		h.data([]byte{0, 0, 0x0f, 0xff, 0xff}, []byte("begun"))
	}
	h.settle()
	_, err := p.UnaryCall(bounded(t), large(size/2))
	assertExhausted(t, "there is no room", err, "the plugin has no room", "plugin.WithMaxBuffered")
	if _, err := p.UnaryCall(bounded(t), large(100<<10)); err != nil {
		t.Errorf("a small message: %v", err)
	}
	if err := h.conn.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := p.UnaryCall(bounded(t), large(2*size))
		if err == nil {
			break
		}
		assertExhausted(t, "until they have ended", err)
		if t.Failed() {
			break
		}
	}
}

// TestMetadataIsBounded sends a few hundred bytes that become a megabyte of metadata, in
// each of many calls. Some calls have a deadline. One peer reads the answers, and another
// does not.
func TestMetadataIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields []hpack.HeaderField
		reads  bool
	}{
		{name: "reads", reads: true},
		{name: "reads nothing"},
		{name: "with a deadline", fields: []hpack.HeaderField{{Name: "grpc-timeout", Value: "99999999H"}}, reads: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const inFlight = 60
			p := connect(t, holding(), limited(calls.Limits{Buffered: 128 << 20})) // 8 MiB of metadata
			before := heap()
			h := dialHostile(t, p)
			if tt.reads {
				h.read()
			}
			value := strings.Repeat("x", 3<<10)
			for range 330 { // after the first, each is one byte, and the server decodes it
				tt.fields = append(tt.fields, hpack.HeaderField{Name: "x-bin", Value: value})
			}
			for range inFlight {
				h.call("/grpc.testing.TestService/FullDuplexCall", tt.fields...)
			}
			if tt.reads {
				// The limit on metadata is that of 10 of them.
				eventually(t, "the rest was refused", func() bool { return h.refused.Load() >= inFlight-10 })
			}
			much := func() error {
				_, err := p.UnaryCall(metadata.AppendToOutgoingContext(bounded(t), "much", strings.Repeat("y", 700<<10)), &testpb.SimpleRequest{})
				return err
			}
			eventually(t, "the limit is reached", func() bool { return much() != nil })
			// The server may still decode calls that it refuses.
			eventually(t, "the memory in use has grown by at most 30 MiB", func() bool { return heap()-before <= 30<<20 })
			if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
				t.Errorf("a call with little metadata: %v", err)
			}
			assertExhausted(t, "a call with much metadata", much(), "metadata", "plugin.WithMaxBuffered")
			if err := h.conn.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMuchMetadata checks that a handler gets much metadata unchanged, and that its room is
// free after the call.
func TestMuchMetadata(t *testing.T) {
	value := strings.Repeat("y", 700<<10)
	p := connect(t, &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		if got := metadata.ValueFromIncomingContext(child, "much"); len(got) != 1 || got[0] != value {
			return nil, errors.New("the metadata is another")
		}
		if _, ok := child.Deadline(); !ok {
			return nil, errors.New("there is no deadline")
		}
		return &testpb.SimpleResponse{}, nil
	}}, limited(calls.Limits{Buffered: 64 << 20})) // 4 MiB of metadata
	for range 10 {
		for {
			_, err := p.UnaryCall(metadata.AppendToOutgoingContext(bounded(t), "much", value), &testpb.SimpleRequest{})
			if err == nil {
				break
			}
			assertExhausted(t, "until the last call has ended", err)
			if t.Failed() {
				return
			}
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// hostile is a client that speaks HTTP/2 by hand.
type hostile struct {
	t       *testing.T
	conn    net.Conn
	framer  *http2.Framer
	headers strings.Builder
	encoder *hpack.Encoder
	stream  uint32
	refused atomic.Int32 // calls that ended
}

func dialHostile(t *testing.T, p *pair) *hostile {
	t.Helper()
	remote := p.conn.RemoteAddr()
	conn, err := net.Dial(remote.Network(), remote.String())
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{t: t, conn: conn, framer: http2.NewFramer(conn, conn)}
	h.encoder = hpack.NewEncoder(&h.headers)
	_, err = io.WriteString(conn, http2.ClientPreface)
	if err = errors.Join(err, h.framer.WriteSettings()); err != nil {
		t.Fatal(err)
	}
	return h
}

// call opens a call and leaves it open. Once the connection is stuck it does nothing.
func (h *hostile) call(method string, fields ...hpack.HeaderField) {
	if h.stream++; h.stream%2 == 0 {
		h.stream++
	}
	h.headers.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
	}, fields...) {
		if err := h.encoder.WriteField(f); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := h.conn.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
		h.t.Fatal(err)
	}
	err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: h.stream, BlockFragment: []byte(h.headers.String()), EndHeaders: true})
	if err != nil && !isTimeout(err) {
		h.t.Fatal(err)
	}
}

// stuck is how long a write may take before the server is taken for one that does not
// read: it only makes the test last.
const stuck = time.Second

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func (h *hostile) data(parts ...[]byte) {
	for _, part := range parts {
		if err := h.framer.WriteData(h.stream, false, part); err != nil {
			h.t.Fatal(err)
		}
	}
}

// settle returns when the server has taken in all that was sent.
func (h *hostile) settle() {
	if err := h.framer.WritePing(false, [8]byte{1}); err != nil {
		h.t.Fatal(err)
	}
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			h.t.Fatal(err)
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}

// read reads in the background, until the connection ends, and counts the calls that do.
func (h *hostile) read() {
	done := make(chan struct{})
	h.t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for {
			frame, err := h.framer.ReadFrame()
			if err != nil {
				return
			}
			if headers, ok := frame.(*http2.HeadersFrame); ok && headers.StreamEnded() {
				h.refused.Add(1)
			}
		}
	}()
}

// eventually returns when what is reports true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, hang)
		}
	}
}
