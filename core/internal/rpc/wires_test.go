package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
)

// hang bounds what a test waits for.
const hang = 5 * time.Minute

// onEachWire runs a test on each wire, and on the toy wire of this package: all must behave the
// same.
func onEachWire(t *testing.T, test func(t *testing.T, wire string)) {
	t.Helper()
	t.Parallel()
	for _, wire := range rpc.Names() {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			test(t, wire)
		})
	}
}

// service answers as its test says.
type service struct {
	testpb.UnimplementedTestServiceServer
	unary  func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	duplex func(stream testpb.TestService_FullDuplexCallServer) error
}

func (s *service) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if s.unary == nil {
		return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
	}
	return s.unary(ctx, req)
}

func (s *service) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	return s.duplex(stream)
}

// StreamingOutputCall sends as many messages as it is asked for.
func (*service) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	for _, p := range req.GetResponseParameters() {
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return nil
}

// StreamingInputCall returns the size of all messages.
func (*service) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	var size int32
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: size})
		}
		if err != nil {
			return err
		}
		size += int32(len(req.GetPayload().GetBody()))
	}
}

// bind returns a binding of svc to a protocol with that name.
func bind(tb testing.TB, name string, svc *service) protocol.Binding {
	tb.Helper()
	return protocol.Bind(protocol.New(name, 1, &testpb.TestService_ServiceDesc), svc)
}

// start starts a plugin that serves svc, and returns the host's handle on it.
func start(t *testing.T, wire string, svc *service, pluginOpts []plugin.Option, hostOpts ...host.Option) *host.Plugin {
	t.Helper()
	p := plugintest.StartWith(t, bind(t, "calls", svc), exampletest.Loopback{}, pluginOpts, append(hostOpts, host.WithWire(wire))...)
	if got := p.Info().Wire; got != wire {
		t.Fatalf("the wire is %q, want %q", got, wire)
	}
	return p
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}

func payload(n int) *testpb.Payload { return &testpb.Payload{Body: make([]byte, n)} }

func await[T any](t *testing.T, what string, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(hang):
		t.Fatalf("%s: nothing after %v", what, hang)
	}
	return value
}

func echo(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func TestWireCalls(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		p := start(t, wire, &service{duplex: echo}, nil)
		if err := p.Ping(bounded(t)); err != nil {
			t.Errorf("the framework's own call: %v", err)
		}
		client := testpb.NewTestServiceClient(p)
		ctx := bounded(t)
		for _, size := range []int{0, 1, 1 << 20} {
			resp, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(size)})
			if err != nil || len(resp.GetPayload().GetBody()) != size {
				t.Errorf("unary: %d bytes, %v; want %d", len(resp.GetPayload().GetBody()), err, size)
			}
		}
		if _, err := client.UnimplementedCall(ctx, &testpb.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("a method that is not there: %v", err)
		}
		var sizes []*testpb.ResponseParameters
		for i := range int32(10) {
			sizes = append(sizes, &testpb.ResponseParameters{Size: i})
		}
		server, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: sizes})
		if err != nil {
			t.Fatal(err)
		}
		for i := range sizes {
			resp, err := server.Recv()
			if err != nil || len(resp.GetPayload().GetBody()) != i {
				t.Errorf("server stream: %d bytes, %v; want %d", len(resp.GetPayload().GetBody()), err, i)
			}
		}
		if _, err := server.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("the end of a server stream: %v", err)
		}
		input, err := client.StreamingInputCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := input.Send(&testpb.StreamingInputCallRequest{Payload: payload(7)}); err != nil {
				t.Fatal(err)
			}
		}
		if resp, err := input.CloseAndRecv(); err != nil || resp.GetAggregatedPayloadSize() != 70 {
			t.Errorf("client stream: %v, %v", resp, err)
		}
		both, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if err := both.Send(&testpb.StreamingOutputCallRequest{Payload: payload(i)}); err != nil {
				t.Fatal(err)
			}
			if resp, err := both.Recv(); err != nil || len(resp.GetPayload().GetBody()) != i {
				t.Errorf("bidirectional stream: %d bytes, %v; want %d", len(resp.GetPayload().GetBody()), err, i)
			}
		}
		if err := both.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := both.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("the end of a bidirectional stream: %v", err)
		}
	})
}

// Many callers at once, each with a call back within its call.
func TestWireCallbacks(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		svc := &service{unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return testpb.NewTestServiceClient(plugin.Host(ctx)).UnaryCall(ctx, req)
		}}
		there := &service{unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{Username: fmt.Sprint("host: ", len(req.GetPayload().GetBody()))}, nil
		}}
		p := start(t, wire, svc, nil, host.WithServices(bind(t, "back", there)))
		ctx := bounded(t)
		var callers sync.WaitGroup
		for i := range 50 {
			callers.Go(func() {
				resp, err := testpb.NewTestServiceClient(p).UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(i)})
				if want := fmt.Sprint("host: ", i); err != nil || resp.GetUsername() != want {
					t.Errorf("%v, %v; want %s", resp, err, want)
				}
			})
		}
		callers.Wait()
	})
}

func TestWireWithoutCallbacks(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		svc := &service{unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return testpb.NewTestServiceClient(plugin.Host(ctx)).UnaryCall(ctx, req)
		}}
		_, err := testpb.NewTestServiceClient(start(t, wire, svc, nil)).UnaryCall(bounded(t), &testpb.SimpleRequest{})
		if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "host.WithServices") {
			t.Errorf("%v", err)
		}
	})
}

// A handler that does not return is the end of its call, and of nothing else.
func TestWirePanics(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		svc := &service{
			unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				switch len(req.GetPayload().GetBody()) {
				case 1:
					panic("the end")
				case 2:
					goruntime.Goexit()
				}
				return &testpb.SimpleResponse{}, nil
			},
			duplex: func(testpb.TestService_FullDuplexCallServer) error { panic("the end of a stream") },
		}
		client := testpb.NewTestServiceClient(start(t, wire, svc, nil))
		ctx := bounded(t)
		for size, want := range map[int]string{
			1: "panic in the handler of /grpc.testing.TestService/UnaryCall: the end",
			2: "called runtime.Goexit",
		} {
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(size)})
			if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		stream, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "the end of a stream") {
			t.Errorf("%v", err)
		}
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
			t.Errorf("a call after that: %v", err)
		}
	})
}

// A call that panicked is over when its caller has the error: the next call finds its place
// free.
func TestWirePanicLeaves(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		svc := &service{
			unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				if len(req.GetPayload().GetBody()) == 1 {
					goruntime.Goexit()
				}
				panic("the end")
			},
			duplex: func(testpb.TestService_FullDuplexCallServer) error { panic("the end of a stream") },
		}
		quiet := plugin.WithLogger(slog.New(slog.DiscardHandler))
		client := testpb.NewTestServiceClient(start(t, wire, svc, []plugin.Option{plugin.WithMaxCalls(1), quiet}))
		ctx := bounded(t)
		for i := range 300 {
			if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload(i % 2)}); status.Code(err) != codes.Internal {
				t.Fatalf("call %d: %v", i, err)
			}
			stream, err := client.FullDuplexCall(ctx)
			if err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.Internal {
				t.Fatalf("stream %d: %v", i, err)
			}
		}
	})
}

// The context of a handler ends with that of the caller.
func TestWireContexts(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		began, ended := make(chan string, 1), make(chan error, 1)
		svc := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			began <- strings.Join(md.Get("word"), ",")
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}}
		client := testpb.NewTestServiceClient(start(t, wire, svc, nil))
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(bounded(t), "word", "hello"))
		called := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
			called <- err
		}()
		if got := await(t, "the handler", began); got != "hello" {
			t.Errorf("the metadata is %q", got)
		}
		cancel()
		if err := await(t, "the call", called); status.Code(err) != codes.Canceled {
			t.Errorf("a cancelled call: %v", err)
		}
		if err := await(t, "the handler", ended); !errors.Is(err, context.Canceled) {
			t.Errorf("its handler: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := client.UnaryCall(short, &testpb.SimpleRequest{}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("a call with a short deadline: %v", err)
		}
	})
}

// A stop lets the call in flight finish, and refuses a new one.
func TestWireDrain(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		began, stopping, release := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
		svc := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			began <- struct{}{}
			<-plugin.Stopping(ctx)
			close(stopping)
			<-release
			return &testpb.SimpleResponse{Username: "done"}, nil
		}}
		p := start(t, wire, svc, nil)
		client := testpb.NewTestServiceClient(p)
		ctx := bounded(t)
		called, stopped := make(chan error, 1), make(chan error, 1)
		go func() {
			resp, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
			if err == nil && resp.GetUsername() != "done" {
				err = fmt.Errorf("it returned %v", resp)
			}
			called <- err
		}()
		await(t, "the handler", began)
		go func() { stopped <- p.Shutdown(ctx) }()
		await(t, "the stop", stopping)
		// The plugin refuses calls a moment after it says that it stops.
		for {
			_, err := client.EmptyCall(ctx, &testpb.Empty{})
			if status.Code(err) == codes.Unimplemented { // the service has no such method: it was let in
				continue
			}
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "shutting down") || !host.NotBegun(err) {
				t.Errorf("a new call: %v, not begun: %t", err, host.NotBegun(err))
			}
			break
		}
		close(release)
		if err := await(t, "the call", called); err != nil {
			t.Errorf("the call in flight: %v", err)
		}
		if err := await(t, "the end of the stop", stopped); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestWireMessageLimit(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		svc := &service{unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{Payload: payload(int(req.GetResponseSize()))}, nil
		}}
		const limit = 10_000
		p := start(t, wire, svc, []plugin.Option{plugin.WithMaxMessageSize(limit)}, host.WithMaxMessageSize(2*limit))
		for name, req := range map[string]*testpb.SimpleRequest{
			"the host sends":      {Payload: payload(2*limit + 1)},
			"the plugin receives": {Payload: payload(limit + 1)},
			"the plugin sends":    {ResponseSize: limit + 1},
		} {
			_, err := testpb.NewTestServiceClient(p).UnaryCall(bounded(t), req)
			if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "host.WithMaxMessageSize and plugin.WithMaxMessageSize") {
				t.Errorf("%s too much: %v", name, err)
			}
		}
	})
}

func TestWireCallLimit(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		began, release := make(chan struct{}, 1), make(chan struct{})
		svc := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			began <- struct{}{}
			<-release
			return &testpb.SimpleResponse{}, nil
		}}
		client := testpb.NewTestServiceClient(start(t, wire, svc, []plugin.Option{plugin.WithMaxCalls(1)}))
		ctx := bounded(t)
		called := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
			called <- err
		}()
		await(t, "the handler", began)
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{})
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "plugin.WithMaxCalls") || !host.NotBegun(err) {
			t.Errorf("one call too many: %v, not begun: %t", err, host.NotBegun(err))
		}
		close(release)
		if err := await(t, "the call", called); err != nil {
			t.Errorf("the first call: %v", err)
		}
	})
}

func TestWireInterceptors(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		var mu sync.Mutex
		var seen []string
		note := func(who, method string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, who+" "+method[strings.LastIndex(method, "/")+1:])
		}
		around := func(who string) grpc.UnaryClientInterceptor {
			return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				note(who, method)
				return next(ctx, method, req, reply, cc, opts...)
			}
		}
		p := start(t, wire, &service{duplex: echo}, []plugin.Option{plugin.WithInterceptors(
			func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
				note("plugin", info.FullMethod)
				return next(ctx, req)
			},
			func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
				note("plugin", info.FullMethod)
				return next(srv, ss)
			},
		)}, host.WithInterceptors(around("outer"), nil), host.WithInterceptors(around("inner"),
			func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				note("inner", method)
				return next(ctx, desc, cc, method, opts...)
			}))
		ctx := bounded(t)
		if err := p.Ping(ctx); err != nil { // which no interceptor sees
			t.Fatal(err)
		}
		client := testpb.NewTestServiceClient(p)
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		stream, err := client.FullDuplexCall(ctx)
		if err == nil {
			err = stream.CloseSend()
		}
		if err == nil {
			if _, err = stream.Recv(); errors.Is(err, io.EOF) {
				err = nil
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		want := []string{"outer UnaryCall", "inner UnaryCall", "plugin UnaryCall", "inner FullDuplexCall", "plugin FullDuplexCall"}
		if !slices.Equal(seen, want) {
			t.Errorf("they saw %q, want %q", seen, want)
		}
	})
}

// Named streams are beside the wire.
func TestWireNamedStreams(t *testing.T) {
	onEachWire(t, func(t *testing.T, wire string) {
		t.Helper()
		svc := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			conn, err := plugin.OpenStream(ctx, "words")
			if err != nil {
				return nil, err
			}
			_, err = io.WriteString(conn, "hello")
			return &testpb.SimpleResponse{}, errors.Join(err, conn.Close())
		}}
		p := start(t, wire, svc, nil)
		ctx := bounded(t)
		called := make(chan error, 1)
		go func() {
			_, err := testpb.NewTestServiceClient(p).UnaryCall(ctx, &testpb.SimpleRequest{})
			called <- err
		}()
		conn, err := p.AcceptStream(ctx, "words")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		if err := await(t, "the call", called); err != nil {
			t.Error(err)
		}
	})
}
