package plugintest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
)

// fromServer binds a handler by registering it on the server itself.
func fromServer(h testpb.TestServiceServer) protocol.Binding {
	return protocol.FromServer("test", 1, func(s *grpc.Server) error {
		testpb.RegisterTestServiceServer(s, h)
		return nil
	})
}

// sdkHandler ends its calls in all ways.
type sdkHandler struct {
	handler
	holding chan struct{} // receives a value from each call of FullDuplexCall
}

// EmptyCall ends the goroutine of its handler.
func (sdkHandler) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	runtime.Goexit()
	return nil, nil
}

// FullDuplexCall lasts until the plugin stops.
func (s sdkHandler) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	s.holding <- struct{}{}
	<-plugin.Stopping(stream.Context())
	return status.Error(codes.Aborted, "the plugin stops")
}

// record is a list that several goroutines add to.
type record struct {
	mu   sync.Mutex // guards list
	list []string
}

func (r *record) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, text)
}

func (r *record) sorted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.list))
}

// recordStats records the methods of calls.
type recordStats struct{ *record }

// TagRPC implements [stats.Handler].
func (r recordStats) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	r.add(info.FullMethodName)
	return ctx
}

// HandleRPC implements [stats.Handler].
func (recordStats) HandleRPC(context.Context, stats.RPCStats) {}

// TagConn implements [stats.Handler].
func (recordStats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (recordStats) HandleConn(context.Context, stats.ConnStats) {}

const (
	unaryCall  = "/grpc.testing.TestService/UnaryCall"
	emptyCall  = "/grpc.testing.TestService/EmptyCall"
	duplexCall = "/grpc.testing.TestService/FullDuplexCall"
)

// A handler that registered itself is served like any other.
func TestFromServer(t *testing.T) {
	t.Parallel()
	h := sdkHandler{holding: make(chan struct{}, 1)}
	var intercepted, seen, seenByHost record
	p := plugintest.StartWith(t, fromServer(h), loop{},
		[]plugin.Option{
			plugin.WithInterceptors(
				func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					intercepted.add(info.FullMethod)
					return next(ctx, req)
				},
				func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					intercepted.add(info.FullMethod)
					return next(srv, ss)
				}),
			plugin.WithStatsHandler(nil, recordStats{&seen}),
		},
		host.WithStatsHandler(recordStats{&seenByHost}, nil))
	client := testpb.NewTestServiceClient(p)

	resp, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("x")}})
	if err != nil || string(resp.GetPayload().GetBody()) != "x" {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "panic in the handler of "+unaryCall) {
		t.Errorf("a panic: %v", err)
	}
	if _, err := client.EmptyCall(t.Context(), &testpb.Empty{}); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "runtime.Goexit") {
		t.Errorf("the end of the goroutine: %v", err)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}

	services, err := p.Services(t.Context())
	if err != nil || len(services) != 1 || services[0].Name != "grpc.testing.TestService" || services[0].Descriptor() == nil {
		t.Errorf("services %v, %v", services, err)
	}

	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-h.holding
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the call in flight at the stop: %v", err)
	}

	calls := []string{emptyCall, duplexCall, unaryCall, unaryCall}
	if got := intercepted.sorted(); !slices.Equal(got, calls) {
		t.Errorf("intercepted %q, want %q", got, calls)
	}
	for side, r := range map[string]*record{"plugin": &seen, "host": &seenByHost} {
		if got := r.sorted(); !slices.Equal(got, calls) {
			t.Errorf("the stats handler of the %s saw %q, want %q", side, got, calls)
		}
	}
}

// The limit on calls counts such a handler's, and refuses others before they begin. A
// stats handler sees a refused call, and no interceptor does.
func TestFromServerLimit(t *testing.T) {
	t.Parallel()
	h := sdkHandler{holding: make(chan struct{}, 1)}
	var intercepted, seen record
	p := plugintest.StartWith(t, fromServer(h), loop{}, []plugin.Option{
		plugin.WithMaxCalls(1),
		plugin.WithInterceptors(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			intercepted.add(info.FullMethod)
			return next(ctx, req)
		}, nil),
		plugin.WithStatsHandler(nil, recordStats{&seen}),
	})
	client := testpb.NewTestServiceClient(p)
	if _, err := client.FullDuplexCall(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-h.holding
	_, unary := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, streaming := stream.Recv()
	for _, err := range []error{unary, streaming} {
		if status.Code(err) != codes.ResourceExhausted || !host.NotBegun(err) {
			t.Errorf("above the limit on calls: %v, not begun %t", err, host.NotBegun(err))
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got := intercepted.sorted(); len(got) > 0 {
		t.Errorf("intercepted %q", got)
	}
	if got, want := seen.sorted(), []string{duplexCall, duplexCall, unaryCall}; !slices.Equal(got, want) {
		t.Errorf("the stats handler saw %q, want %q", got, want)
	}
}

// serveOnce returns the error of a plugin that cannot serve.
func serveOnce(t *testing.T, binding protocol.Binding) error {
	t.Helper()
	return plugin.Serve(t.Context(), binding, plugin.WithTransports(loop{}),
		plugin.WithLookupEnv(func(name string) (string, bool) {
			switch name {
			case "PLUGIN_MAGIC_COOKIE":
				return "plugwire", true
			case "PLUGIN_TRANSPORTS":
				return "loop", true
			default:
				return "", false
			}
		}),
		plugin.WithAnswerWriter(t.Output()))
}

// The plugin does not start if its function fails, or registers what the framework
// serves.
func TestFromServerFails(t *testing.T) {
	t.Parallel()
	cause := errors.New("no credentials")
	if err := serveOnce(t, protocol.FromServer("test", 1, func(*grpc.Server) error { return cause })); !errors.Is(err, cause) {
		t.Error(err)
	}
	err := serveOnce(t, protocol.FromServer("test", 1, func(s *grpc.Server) error {
		healthpb.RegisterHealthServer(s, health.NewServer())
		return nil
	}))
	if err == nil || !strings.Contains(err.Error(), "service grpc.health.v1.Health, which the framework itself serves: leave it out") {
		t.Error(err)
	}
}

// A host serves its plugin in the same way.
func TestFromServerAtHost(t *testing.T) {
	t.Parallel()
	p := plugintest.Start(t, protocol.Bind(testProtocol, callingBack{}), loop{}, host.WithServices(fromServer(handler{})))
	resp, err := testpb.NewTestServiceClient(p).UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("x")}})
	if err != nil || string(resp.GetPayload().GetBody()) != "x" {
		t.Errorf("%v, %v", resp, err)
	}
}

// callingBack passes calls on to the host.
type callingBack struct {
	testpb.UnimplementedTestServiceServer
}

func (callingBack) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return testpb.NewTestServiceClient(plugin.Host(ctx)).UnaryCall(ctx, req)
}

// Calls on the real connection have the errors and interceptors of the handle.
func TestClientConn(t *testing.T) {
	t.Parallel()
	var intercepted record
	p := plugintest.Start(t, protocol.Bind(testProtocol, handler{}), loop{}, host.WithWire("h2"), host.WithInterceptors(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := next(ctx, method, req, reply, cc, opts...)
			if host.NotBegun(err) {
				intercepted.add("not begun")
			}
			return err
		}, nil))
	conn, err := p.ClientConn()
	if err != nil {
		t.Fatal(err)
	}
	client := testpb.NewTestServiceClient(conn)
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{}}); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	_, err = client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.WaitForReady(true))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "was stopped by its host") || !host.NotBegun(err) {
		t.Errorf("after the end: %v, not begun %t", err, host.NotBegun(err))
	}
	if got := intercepted.sorted(); !slices.Equal(got, []string{"not begun"}) {
		t.Errorf("the interceptor saw %q", got)
	}
}
