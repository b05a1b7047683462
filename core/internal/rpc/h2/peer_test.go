package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/h2"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

func TestMain(m *testing.M) {
	encoding.RegisterCodecV2(held)
	goleak.VerifyTestMain(m)
}

// hang is the time after which a test says that what it waits for never came.
const hang = 5 * time.Minute

// service answers as its test says.
type service struct {
	testpb.UnimplementedTestServiceServer
	unary  func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	duplex func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error
}

func (s *service) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if s.unary == nil {
		return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
	}
	return s.unary(ctx, req)
}

func (s *service) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	return s.duplex(stream)
}

// health is a service of the framework's own: a watch that never ends.
type health struct {
	healthpb.UnimplementedHealthServer
}

func (health) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func (health) Watch(_ *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	if err := stream.Send(&healthpb.HealthCheckResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// pair is both ends of a session over a loopback connection.
type pair struct {
	client *h2.Client
	server *h2.Server
	conn   net.Conn // the client's
	testpb.TestServiceClient
	mu     sync.Mutex // guards panics
	panics []string
}

// connect makes a pair that serves svc, and ends it with the test. The
// configurations may be changed by change.
func connect(t *testing.T, svc *service, change ...func(client *clientConfig, server *serverConfig)) *pair {
	t.Helper()
	p := &pair{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if p.conn, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	client := clientConfig{Conn: p.conn, ClientConfig: calls.ClientConfig{
		Side:           "host",
		Other:          "plugin",
		MaxMessageSize: calls.DefaultMaxMessageSize,
		IsControl:      func(method string) bool { return strings.HasPrefix(method, "/grpc.health.") },
	}}
	server := serverConfig{Listener: ln, ServerConfig: calls.ServerConfig{
		Side:           "plugin",
		Other:          "host",
		MaxMessageSize: calls.DefaultMaxMessageSize,
		Application: func(r grpc.ServiceRegistrar) error {
			testpb.RegisterTestServiceServer(r, svc)
			return nil
		},
		Control: func(r calls.Registrar) { healthpb.RegisterHealthServer(r, health{}) },
		OnPanic: func(_ context.Context, method string, value any, stack []byte) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.panics = append(p.panics, method+": "+value.(string))
			if !bytes.Contains(stack, []byte("peer_test.go")) {
				t.Errorf("the stack does not show where:\n%s", stack)
			}
		},
	}}
	for _, f := range change {
		f(&client, &server)
	}
	if p.server, err = h2.NewServer(server.ServerConfig); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(streamListener{server.Listener}) }()
	t.Cleanup(func() {
		p.server.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	p.client, err = h2.Connect(bounded(t), client.ClientConfig, h2.Link{Stream: plainStream(client.Conn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.client.Close)
	p.TestServiceClient = testpb.NewTestServiceClient(p.client)
	return p
}

type clientConfig struct {
	calls.ClientConfig
	Conn net.Conn
}

type serverConfig struct {
	calls.ServerConfig
	Listener net.Listener
}

// plainStream returns a stream on which nobody was authenticated.
func plainStream(conn net.Conn) *session.Stream {
	return &session.Stream{Conn: conn, Info: secure.Info{Security: handshake.SecurityNone, UID: -1}}
}

// streamListener yields plain streams.
type streamListener struct{ net.Listener }

func (l streamListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return plainStream(conn), nil
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t *testing.T, what string, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(hang):
		t.Fatalf("%s: nothing after %v", what, hang)
	}
	return value
}

// until is a service whose calls begin, and wait until they are released or cut
// off. One that heeds nothing has to be released.
func until(begun chan<- struct{}, release <-chan struct{}, heed bool) *service {
	return &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		begun <- struct{}{}
		done := ctx.Done()
		if !heed {
			done = nil
		}
		select {
		case <-release:
			return &testpb.SimpleResponse{}, nil
		case <-done:
			return nil, ctx.Err()
		}
	}}
}

func TestUnary(t *testing.T) {
	t.Parallel()
	p := connect(t, &service{})
	resp, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("x")}})
	if err != nil || string(resp.GetPayload().GetBody()) != "x" {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	svc := &service{
		unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) { panic("one") },
		duplex: func(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
			panic("two")
		},
	}
	p := connect(t, svc)
	_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "panic in the handler of /grpc.testing.TestService/UnaryCall: one" {
		t.Error(err)
	}
	stream, err := p.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "panic in the handler of /grpc.testing.TestService/FullDuplexCall: two" {
		t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := strings.Join(p.panics, ", "); got != "/grpc.testing.TestService/UnaryCall: one, /grpc.testing.TestService/FullDuplexCall: two" {
		t.Errorf("panics: %s", got)
	}
}

// TestDrain drains while a call is in flight: it finishes, and new calls are refused.
func TestDrain(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 1), make(chan struct{})
	p := connect(t, until(begun, release, true))
	called := make(chan error, 1)
	go func() {
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
		called <- err
	}()
	receive(t, "the call", begun)

	expired, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.server.Drain(expired)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 calls were still in flight") {
		t.Errorf("Drain with a call in flight: %v", err)
	}
	_, err = p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "shutting down") {
		t.Errorf("a new call: %v", err)
	}
	if _, err := healthpb.NewHealthClient(p.client).Check(bounded(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("the framework's own call: %v", err)
	}
	close(release)
	if err := p.server.Drain(bounded(t)); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if err := receive(t, "the end of the call", called); err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if err := p.server.Stop(bounded(t), hang); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// TestStop stops while a watch goes on that never ends, and cuts a handler off.
func TestStop(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 1)
	p := connect(t, until(begun, nil, true))
	watch, err := healthpb.NewHealthClient(p.client).Watch(bounded(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	called := make(chan error, 1)
	go func() {
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
		called <- err
	}()
	receive(t, "the call", begun)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.server.Stop(over, hang); err != nil {
		t.Errorf("Stop: %v", err)
	}
	receive(t, "Lost", p.client.Lost())
	reason := errors.New("it was stopped")
	p.client.Fail(reason)
	if err := receive(t, "the end of the call", called); status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
		t.Errorf("the call: %v", err)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
		t.Errorf("the watch: %v", err)
	}
}

// TestStopOfStuckHandler checks that Stop does not wait for a handler that ignores its
// context.
func TestStopOfStuckHandler(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}, 1), make(chan struct{})
	p := connect(t, until(begun, release, false))
	called := make(chan error, 1)
	go func() {
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
		called <- err
	}()
	receive(t, "the call", begun)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.server.Stop(over, time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "calls were cut off and go on all the same (1)") {
		t.Errorf("Stop: %v", err)
	}
	p.client.Close()
	if err := receive(t, "the end of the call", called); !errors.Is(err, h2.ErrClosed) {
		t.Errorf("the call: %v", err)
	}
	close(release)
	if err := p.server.Stop(bounded(t), hang); err != nil {
		t.Errorf("Stop once the handler has ended: %v", err)
	}
}

// TestFail checks that every kind of call ends with the reason: those in flight, and later
// ones.
func TestFail(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 1)
	svc := until(begun, nil, true)
	svc.duplex = func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	p := connect(t, svc)
	ctx := bounded(t)
	stream, err := p.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	called := make(chan error, 1)
	go func() {
		_, err := p.UnaryCall(ctx, &testpb.SimpleRequest{}, grpc.WaitForReady(true))
		called <- err
	}()
	receive(t, "the call", begun)

	// The connection ends first, and only then is it known why.
	if err := p.conn.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "Lost", p.client.Lost())
	early := make(chan error, 1)
	go func() {
		_, err := p.UnaryCall(ctx, &testpb.SimpleRequest{})
		early <- err
	}()
	reason := errors.New("the process crashed")
	p.client.Fail(reason)
	p.client.Fail(errors.New("another reason"))

	check := func(what string, err error) {
		t.Helper()
		if s, ok := status.FromError(err); !ok || s.Code() != codes.Unavailable || s.Message() != reason.Error() || !errors.Is(err, reason) {
			t.Errorf("%s: %v, want codes.Unavailable with %v", what, err, reason)
		}
	}
	check("the call in flight", receive(t, "the call in flight", called))
	check("the call in between", receive(t, "the call in between", early))
	_, err = stream.Recv()
	check("the stream in flight", err)
	for _, opts := range [][]grpc.CallOption{nil, {grpc.WaitForReady(true)}} {
		_, err := p.UnaryCall(ctx, &testpb.SimpleRequest{}, opts...)
		check("a later call", err)
		_, err = p.FullDuplexCall(ctx, opts...)
		check("a later stream", err)
	}
}

// TestCallerGoesFirst ends the context of a caller before the reason of a loss is known.
func TestCallerGoesFirst(t *testing.T) {
	t.Parallel()
	p := connect(t, &service{})
	if err := p.conn.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, "Lost", p.client.Lost())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.UnaryCall(ctx, &testpb.SimpleRequest{}); err == nil {
		t.Error("a call without a connection succeeds")
	}
	if ctx.Err() == nil {
		t.Error("the call did not wait for the reason")
	}
}

// TestUnavailableOfHandler is not taken for the loss of the connection.
func TestUnavailableOfHandler(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unavailable, codes.Canceled, codes.ResourceExhausted} {
		p := connect(t, &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return nil, status.Error(code, "of the handler")
		}})
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
		if s := status.Convert(err); s.Code() != code || s.Message() != "of the handler" {
			t.Errorf("%v, want %v of the handler", err, code)
		}
	}
}

// TestMessageSize sends messages above the limit of either side, in all directions. Each
// error says what to do, once.
func TestMessageSize(t *testing.T) {
	t.Parallel()
	const limit = 1000
	big := bytes.Repeat([]byte("x"), 2*limit)
	svc := &service{
		unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: big}}, nil
		},
		duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
			_, err := stream.Recv()
			return err
		},
	}
	for name, change := range map[string]func(client *clientConfig, server *serverConfig){
		"client": func(client *clientConfig, _ *serverConfig) { client.MaxMessageSize = limit },
		"server": func(_ *clientConfig, server *serverConfig) { server.MaxMessageSize = limit },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, svc, change)
			ctx := bounded(t)
			_, request := p.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: big}})
			_, response := p.UnaryCall(ctx, &testpb.SimpleRequest{})
			stream, err := p.FullDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			streamed := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: big}})
			if streamed == nil || errors.Is(streamed, io.EOF) {
				_, streamed = stream.Recv()
			}
			for what, err := range map[string]error{"request": request, "response": response, "streamed": streamed} {
				message := status.Convert(err).Message()
				if status.Code(err) != codes.ResourceExhausted || strings.Count(message, "host.WithMaxMessageSize and plugin.WithMaxMessageSize") != 1 {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestInterceptorOrder checks the order of several interceptors on both sides. They see calls
// of the application only.
func TestInterceptorOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	see := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, name)
	}
	unaryClient := func(name string) grpc.UnaryClientInterceptor {
		return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			see(name)
			return next(ctx, method, req, reply, cc, opts...)
		}
	}
	unaryServer := func(name string) grpc.UnaryServerInterceptor {
		return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			see(name + " " + info.FullMethod)
			return next(ctx, req)
		}
	}
	streamServer := func(name string) grpc.StreamServerInterceptor {
		return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			see(name + " " + info.FullMethod)
			return next(srv, ss)
		}
	}
	svc := &service{duplex: func(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
		return nil
	}}
	p := connect(t, svc, func(client *clientConfig, server *serverConfig) {
		client.Unary = []grpc.UnaryClientInterceptor{unaryClient("c1"), unaryClient("c2")}
		server.Unary = []grpc.UnaryServerInterceptor{unaryServer("s1"), unaryServer("s2"), unaryServer("s3")}
		server.Stream = []grpc.StreamServerInterceptor{streamServer("t1"), streamServer("t2"), streamServer("t3")}
	})
	if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := healthpb.NewHealthClient(p.client).Check(bounded(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	stream, err := p.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	const unary, duplex = " /grpc.testing.TestService/UnaryCall", " /grpc.testing.TestService/FullDuplexCall"
	want := strings.Join([]string{"c1", "c2", "s1" + unary, "s2" + unary, "s3" + unary, "t1" + duplex, "t2" + duplex, "t3" + duplex}, ",")
	if got := strings.Join(seen, ","); got != want {
		t.Errorf("seen  %s\nwant  %s", got, want)
	}
}

// TestConnectFails connects to a server that hangs up, and to one that is silent.
func TestConnectFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(net.Conn)
		within time.Duration
		want   error
	}{
		{name: "hangs up", answer: func(conn net.Conn) { _ = conn.Close() }, within: hang},
		{name: "says nothing", answer: func(net.Conn) {}, within: 50 * time.Millisecond, want: context.DeadlineExceeded},
		{name: "speaks something else", answer: func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, within: hang},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go func() {
				_, _ = theirs.Read(make([]byte, 24)) // the preface
				tt.answer(theirs)
				_, _ = io.Copy(io.Discard, theirs)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			_, err := h2.Connect(ctx, calls.ClientConfig{
				Side:           "host",
				Other:          "plugin",
				MaxMessageSize: 1000,
				IsControl:      func(string) bool { return false },
			}, h2.Link{Stream: plainStream(ours)})
			if err == nil || err.Error() == "" || !errors.Is(err, tt.want) && tt.want != nil {
				t.Errorf("Connect = %v, want %v", err, tt.want)
			}
			t.Log(err)
		})
	}
}
