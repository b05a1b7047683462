package plugintest_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop is a transport over the loopback interface.
type loop struct{ err error } // the error of Listen

func (loop) Name() string    { return "loop" }
func (loop) Versions() []int { return []int{1} }

func (l loop) Listen(ctx context.Context, _ transport.ListenConfig) (net.Listener, error) {
	if l.err != nil {
		return nil, l.err
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", "127.0.0.1:0")
}

func (loop) Dial(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", cfg.Address)
}

// handler returns the payload that it gets.
type handler struct {
	testpb.UnimplementedTestServiceServer
}

func (handler) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if req.GetPayload() == nil {
		panic("no payload")
	}
	plugin.Logger(ctx).InfoContext(ctx, "called")
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

// StreamingOutputCall goes on until the plugin stops.
func (handler) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	select {
	case <-plugin.Stopping(stream.Context()):
		return status.Error(codes.Aborted, "that was all")
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

var testProtocol = protocol.New("test", 1, &testpb.TestService_ServiceDesc)

func TestStart(t *testing.T) {
	t.Parallel()
	p := plugintest.Start(t, protocol.Bind(testProtocol, handler{}), loop{})
	if info := p.Info(); info.Security != "mtls" || info.Transport.String() != "loop/1" || info.PID != 0 {
		t.Errorf("%+v", info)
	}
	client := testpb.NewTestServiceClient(p)
	resp, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("x")}})
	if err != nil || string(resp.GetPayload().GetBody()) != "x" {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("a panic: %v", err)
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// StartWith takes options for both sides. The test may stop the plugin itself.
func TestStartWith(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	var log strings.Builder
	p := plugintest.StartWith(t, protocol.Bind(testProtocol, handler{}), loop{},
		[]plugin.Option{
			plugin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
			plugin.OnShutdown(func(context.Context) error { close(stopped); return nil }),
		},
		host.WithMaxMessageSize(1000))
	client := testpb.NewTestServiceClient(p)
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 2000)}}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("above the limit: %v", err)
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{}}); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	<-stopped
	if !strings.Contains(log.String(), "called") {
		t.Errorf("log %q", log.String())
	}
}

// A call that lasts until the plugin stops ends by itself, and is not cut off.
func TestStopping(t *testing.T) {
	t.Parallel()
	p := plugintest.Start(t, protocol.Bind(testProtocol, handler{}), loop{})
	stream, err := testpb.NewTestServiceClient(p).StreamingOutputCall(t.Context(), &testpb.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the call ended with %v, want what its handler returns", err)
	}
}

// leaving is a handler that ends the goroutine of a call, as a failed assertion of package
// testing does. With a payload it calls the same handler at the host first.
type leaving struct {
	testpb.UnimplementedTestServiceServer
}

func (leaving) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if req.GetPayload() != nil {
		return testpb.NewTestServiceClient(plugin.Host(ctx)).UnaryCall(ctx, &testpb.SimpleRequest{})
	}
	runtime.Goexit()
	return nil, nil
}

func (leaving) FullDuplexCall(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	runtime.Goexit()
	return nil
}

// TestGoexit ends the goroutines of handlers of the plugin and of the host: each call
// ends at once, with an error that says why.
func TestGoexit(t *testing.T) {
	t.Parallel()
	services := protocol.Bind(protocol.New("host", 1, &testpb.TestService_ServiceDesc), leaving{})
	p := plugintest.Start(t, protocol.Bind(testProtocol, leaving{}), loop{}, host.WithServices(services))
	client := testpb.NewTestServiceClient(p)
	_, unary := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	_, callback := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{}})
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, streaming := stream.Recv()
	for name, err := range map[string]error{"unary": unary, "stream": streaming, "the host's": callback} {
		if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "called runtime.Goexit") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// noRunner starts nothing.
type noRunner struct{}

func (noRunner) Start(context.Context, host.StartConfig) (host.Process, error) {
	return nil, errors.ErrUnsupported
}

// failing is a test that records how it fails.
type failing struct {
	testing.TB
	messages []string
	cleanups []func()
}

type testFailure struct{}

func (f *failing) Helper()          {}
func (f *failing) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }

func (f *failing) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(testFailure{})
}

// failure runs f as a test of its own and returns the text of its failure.
func failure(t *testing.T, f func(tb testing.TB)) string {
	t.Helper()
	tb := &failing{TB: t}
	func() {
		defer func() {
			if value := recover(); value != nil && value != any(testFailure{}) {
				panic(value)
			}
		}()
		f(tb)
	}()
	for _, c := range tb.cleanups {
		c()
	}
	return strings.Join(tb.messages, "\n")
}

// A test whose plugin cannot start, or does not stop in good order, fails and says why.
func TestFailures(t *testing.T) {
	t.Parallel()
	good := protocol.Bind(testProtocol, handler{})
	for _, tt := range []struct {
		name string
		test func(tb testing.TB)
		want string
	}{
		{"no binding", func(tb testing.TB) { tb.Helper(); plugintest.Start(tb, protocol.Binding{}, loop{}) }, "nothing is bound"},
		{"cannot listen", func(tb testing.TB) { tb.Helper(); plugintest.Start(tb, good, loop{err: errors.New("no room")}) }, "could not listen: loop/1: no room"},
		{"other protocol", func(tb testing.TB) {
			tb.Helper()
			other := protocol.New("other", 1, &testpb.TestService_ServiceDesc)
			plugintest.Start(tb, good, loop{}, host.WithProtocols(other))
		}, "speak different protocols (host: other; plugin: test)"},
		{"error at the end", func(tb testing.TB) {
			tb.Helper()
			plugintest.StartWith(tb, good, loop{}, []plugin.Option{plugin.OnShutdown(func(context.Context) error { return errors.New("not saved") })})
		}, "not saved"},
		{"no end at the end", func(tb testing.TB) {
			tb.Helper()
			plugintest.StartWith(tb, good, loop{}, []plugin.Option{plugin.OnShutdown(func(context.Context) error { runtime.Goexit(); return nil })})
		}, "called runtime.Goexit"},
		{"another runner", func(tb testing.TB) {
			tb.Helper()
			plugintest.Start(tb, good, loop{}, host.WithRunner(noRunner{}))
		}, "host.WithRunner is given twice, and one of them starts the plugin (plugintest gives the option too"},
		{"a checksum", func(tb testing.TB) {
			tb.Helper()
			plugintest.Start(tb, good, loop{}, host.WithChecksum(crypto.SHA256, make([]byte, crypto.SHA256.Size())))
		}, "host.WithChecksum and host.WithRunner contradict each other"},
		{"another environment", func(tb testing.TB) {
			tb.Helper()
			plugintest.StartWith(tb, good, loop{}, []plugin.Option{plugin.WithLookupEnv(os.LookupEnv)})
		}, "plugin.WithLookupEnv is given twice, and there is one host (plugintest gives the option too"},
		{"another writer", func(tb testing.TB) {
			tb.Helper()
			plugintest.StartWith(tb, good, loop{}, []plugin.Option{plugin.WithAnswerWriter(io.Discard)})
		}, "plugin.WithAnswerWriter is given twice, and there is one host (plugintest gives the option too"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := failure(t, tt.test); !strings.Contains(got, "plugintest: ") || !strings.Contains(got, tt.want) {
				t.Errorf("the test fails with %q, want %q", got, tt.want)
			}
		})
	}
}

// another serves the other protocol of the tests.
type another struct {
	testpb.UnimplementedUnimplementedServiceServer
}

func (another) UnimplementedCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

// A plugin of several protocols serves the one that the host asks for, and
// nothing of the others.
func TestOneProtocolOfSeveral(t *testing.T) {
	t.Parallel()
	first := protocol.New("first", 1, &testpb.TestService_ServiceDesc)
	second := protocol.New("second", 1, &testpb.UnimplementedService_ServiceDesc)
	both := protocol.Join(protocol.Bind(first, handler{}), protocol.Bind(second, another{}))
	for _, tt := range []struct {
		want         *protocol.Protocol
		opts         []host.Option
		first, other codes.Code
	}{
		{first, nil, codes.OK, codes.Unimplemented},
		{first, []host.Option{host.WithProtocols(first)}, codes.OK, codes.Unimplemented},
		{second, []host.Option{host.WithProtocols(second)}, codes.Unimplemented, codes.OK},
	} {
		p := plugintest.Start(t, both, loop{}, tt.opts...)
		if p.Protocol() != tt.want {
			t.Errorf("protocol %s, want %s", p.Protocol(), tt.want)
		}
		checkCodes(t, p, tt.first, tt.other)
	}
}

// A plugin may leave an optional service unbound. The error of a call says so.
func TestOptionalService(t *testing.T) {
	t.Parallel()
	p := protocol.New("optional", 1, &testpb.TestService_ServiceDesc).Optional(&testpb.UnimplementedService_ServiceDesc)
	checkCodes(t, plugintest.Start(t, protocol.Bind(p, handler{}), loop{}), codes.OK, codes.Unimplemented)
	both := protocol.Join(protocol.Bind(p, handler{}), protocol.Bind(p, another{}))
	checkCodes(t, plugintest.Start(t, both, loop{}), codes.OK, codes.OK)
}

// checkCodes calls both services.
func checkCodes(t *testing.T, p *host.Plugin, first, other codes.Code) {
	t.Helper()
	_, err := testpb.NewTestServiceClient(p).UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{}})
	if status.Code(err) != first {
		t.Errorf("%s: %v, want %s", p.Protocol(), err, first)
	}
	_, err = testpb.NewUnimplementedServiceClient(p).UnimplementedCall(t.Context(), &testpb.Empty{})
	if status.Code(err) != other {
		t.Errorf("%s: %v, want %s", p.Protocol(), err, other)
	}
}
