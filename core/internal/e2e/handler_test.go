//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/control/controlpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
)

func payload(s string) *echopb.Payload { return &echopb.Payload{Data: []byte(s)} }

// TestKindsOfCalls makes one call of each kind.
func TestKindsOfCalls(t *testing.T) {
	t.Parallel()
	client := echopb.NewEchoClient(launch(t, echoPlugin()))
	ctx := testContext(t)
	if resp, err := client.Unary(ctx, payload("hello")); err != nil || string(resp.GetData()) != "hello" {
		t.Errorf("Unary: %q, %v", resp.GetData(), err)
	}

	download, err := client.Download(ctx, &echopb.DownloadRequest{Count: 100, Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		resp, err := download.Recv()
		if errors.Is(err, io.EOF) {
			if n != 100 {
				t.Errorf("Download: %d messages, want 100", n)
			}
			break
		}
		if err != nil || len(resp.GetData()) != 10 {
			t.Fatalf("Download: %v, %v", resp, err)
		}
	}

	upload, err := client.Upload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := upload.Send(payload("0123456789")); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := upload.CloseAndRecv()
	if diff := cmp.Diff(&echopb.UploadSummary{Bytes: 1000, Messages: 100}, sum, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("Upload: %v\n%s", err, diff)
	}

	chat, err := client.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		if err := chat.Send(payload(word)); err != nil {
			t.Fatal(err)
		}
		if resp, err := chat.Recv(); err != nil || string(resp.GetData()) != word {
			t.Errorf("Chat: %q, %v", resp.GetData(), err)
		}
	}
	if err := chat.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of Chat: %v", err)
	}
}

// TestPanicInHandler checks panics in unary and streaming handlers: the
// caller's error and the log report it, and the plugin keeps running.
func TestPanicInHandler(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, 0)
	p := launch(t, echoPlugin(), host.WithLogger(logger))
	client := echopb.NewEchoClient(p)
	ctx := testContext(t)
	stream := func() error {
		chat, err := client.Chat(ctx)
		if err != nil {
			return err
		}
		if err := chat.Send(payload("panic")); err != nil {
			return err
		}
		_, err = chat.Recv()
		return err
	}
	unary := func(how string) error {
		_, err := client.Fail(ctx, fail(how))
		return err
	}
	for _, tt := range []struct {
		err    error
		method string
		text   string
	}{
		{unary("panic"), "/plugwire.e2e.Echo/Fail", "asked to panic"},
		{unary("nil pointer"), "/plugwire.e2e.Echo/Fail", "invalid memory address or nil pointer dereference"},
		{stream(), "/plugwire.e2e.Echo/Chat", "asked to panic in a stream"},
	} {
		if status.Code(tt.err) != codes.Internal {
			t.Errorf("code %v, want %v", status.Code(tt.err), codes.Internal)
		}
		assertSays(t, tt.err.Error(), "panic in the handler of "+tt.method, tt.text)
	}
	if _, err := client.Unary(ctx, payload("alive")); err != nil {
		t.Errorf("the plugin does not live on: %v", err)
	}
	r := book.await(t, "panic in a handler")
	if r.text("method") != "/plugwire.e2e.Echo/Fail" || r.text("panic") != "asked to panic" || !strings.Contains(r.text("stack"), "echo.go") {
		t.Errorf("the panic's record: %+v", r)
	}
}

// TestStatusArrivesUnchanged checks statuses of handlers, one of them with a
// code that the framework itself uses.
func TestStatusArrivesUnchanged(t *testing.T) {
	t.Parallel()
	client := echopb.NewEchoClient(launch(t, echoPlugin()))
	_, err := client.Fail(testContext(t), fail("status"))
	s := status.Convert(err)
	want := []any{&errdetails.ErrorInfo{Reason: "TEST", Domain: "plugwire.example"}}
	if s.Code() != codes.FailedPrecondition || s.Message() != "not now" || !cmp.Equal(want, s.Details(), protocmp.Transform()) {
		t.Errorf("%v, %v", s, s.Details())
	}
	began := time.Now()
	for range 100 {
		_, err = client.Fail(testContext(t), fail("unavailable"))
		if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "busy with something else" {
			t.Fatalf("%v, want what the handler returned", err)
		}
		if _, ok := errors.AsType[*host.ExitError](err); ok {
			t.Fatalf("%v is taken for the end of the plugin", err)
		}
	}
	if took := time.Since(began); took > prompt {
		t.Errorf("100 calls took %v", took)
	}
}

// TestMetadataDeadlineCancel checks what a call carries beside its message.
func TestMetadataDeadlineCancel(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, 0)
	client := echopb.NewEchoClient(launch(t, command("misbehave"), host.WithLogger(logger)))
	ctx := testContext(t)

	var header, trailer metadata.MD
	_, err := client.Unary(metadata.AppendToOutgoingContext(ctx, "x-e2e", "value"), payload(""), grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if got := header.Get("x-e2e"); !slices.Equal(got, []string{"header value"}) {
		t.Errorf("header %q", got)
	}
	if got := trailer.Get("x-e2e"); !slices.Equal(got, []string{"trailer value"}) {
		t.Errorf("trailer %q", got)
	}

	short, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	resp, err := client.Fail(short, fail("deadline"))
	if err != nil {
		t.Fatal(err)
	}
	if left, err := time.ParseDuration(string(resp.GetData())); err != nil || left <= 0 || left > 30*time.Second {
		t.Errorf("the handler has %s, %v; want at most 30s", resp.GetData(), err)
	}

	expired, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Fail(expired, fail("hang")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("past the deadline: %v", err)
	}

	cancelled, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := client.Fail(cancelled, fail("wait"))
		done <- err
	}()
	book.await(t, "waiting")
	cancel()
	if err := waitFor(t, "the cancelled call", done); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if r := book.await(t, "waited"); r.text("cause") != context.Canceled.Error() {
		t.Errorf("the handler's context ended with %q", r.text("cause"))
	}
}

// TestMessageSize sends messages beyond each side's limit, and a large one
// within the default.
func TestMessageSize(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	big := &echopb.Payload{Data: bytes.Repeat([]byte("x"), 8*mib)}
	resp, err := echopb.NewEchoClient(launch(t, echoPlugin())).Unary(testContext(t), big)
	if err != nil || !bytes.Equal(resp.GetData(), big.GetData()) {
		t.Errorf("8 MiB by default: %d bytes, %v", len(resp.GetData()), err)
	}

	for _, tt := range []struct {
		name string
		call func(context.Context, echopb.EchoClient) error
		cmd  []string
		opts []host.Option
		says string
	}{
		{
			name: "request above the plugin's limit", cmd: []string{"-max-message", "1000000"}, says: "plugin.WithMaxMessageSize",
			call: func(ctx context.Context, c echopb.EchoClient) error { _, err := c.Unary(ctx, big); return err },
		},
		{
			name: "request above the host's limit", opts: []host.Option{host.WithMaxMessageSize(mib)}, says: "host.WithMaxMessageSize",
			call: func(ctx context.Context, c echopb.EchoClient) error { _, err := c.Unary(ctx, big); return err },
		},
		{
			name: "response above the host's limit", opts: []host.Option{host.WithMaxMessageSize(mib)}, says: "host.WithMaxMessageSize",
			call: func(ctx context.Context, c echopb.EchoClient) error {
				return drain(c.Download(ctx, &echopb.DownloadRequest{Count: 1, Size: 2 * mib}))
			},
		},
		{
			name: "response above the plugin's limit", cmd: []string{"-max-message", "1000000"}, says: "plugin.WithMaxMessageSize",
			call: func(ctx context.Context, c echopb.EchoClient) error {
				return drain(c.Download(ctx, &echopb.DownloadRequest{Count: 1, Size: 2 * mib}))
			},
		},
		{
			name: "upload above the host's limit", opts: []host.Option{host.WithMaxMessageSize(mib)}, says: "host.WithMaxMessageSize",
			call: func(ctx context.Context, c echopb.EchoClient) error {
				upload, err := c.Upload(ctx)
				if err != nil {
					return err
				}
				return upload.Send(big)
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := echopb.NewEchoClient(launch(t, command("misbehave", tt.cmd...), tt.opts...))
			ctx := testContext(t)
			err := tt.call(ctx, client)
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("code %v, want %v", status.Code(err), codes.ResourceExhausted)
			}
			assertSays(t, err.Error(), "larger than max", "raise the limit", tt.says)
			if _, err := client.Unary(ctx, payload("small")); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

// drain reads a stream to its end.
func drain(stream grpc.ServerStreamingClient[echopb.Payload], err error) error {
	for err == nil {
		_, err = stream.Recv()
	}
	return err
}

// TestInterceptors checks that interceptors on both sides see only the
// application's calls.
func TestInterceptors(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var calls []string
	see := func(name, method string) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, name+" "+method)
	}
	interceptors := func(name string) host.Option {
		return host.WithInterceptors(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				see(name, method)
				return next(ctx, method, req, reply, cc, opts...)
			},
			func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				see(name, method)
				return next(ctx, desc, cc, method, opts...)
			})
	}
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave", "-intercept"), host.WithLogger(logger), interceptors("outer"), interceptors("inner"))
	ctx := testContext(t)
	if err := p.Ping(ctx); err != nil {
		t.Error(err)
	}
	if _, err := echopb.NewEchoClient(p).Unary(ctx, payload("")); err != nil {
		t.Error(err)
	}
	if err := drain(echopb.NewEchoClient(p).Download(ctx, &echopb.DownloadRequest{})); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	want := []string{
		"outer /plugwire.e2e.Echo/Unary", "inner /plugwire.e2e.Echo/Unary",
		"outer /plugwire.e2e.Echo/Download", "inner /plugwire.e2e.Echo/Download",
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("the host's interceptors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"/plugwire.e2e.Echo/Unary", "/plugwire.e2e.Echo/Download"}, book.attrs("intercepted", "method")); diff != "" {
		t.Errorf("the plugin's interceptors (-want +got):\n%s", diff)
	}
}

// TestBuiltInServices calls health, reflection and information.
func TestBuiltInServices(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	ctx := testContext(t)
	for _, service := range []string{"", "plugin"} {
		resp, err := healthpb.NewHealthClient(p).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, resp, err)
		}
	}

	info, err := controlpb.NewControlClient(p).Info(ctx, &controlpb.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.GetUptimeMilliseconds() < 0 || info.GetFrameworkVersion() == "" {
		t.Errorf("uptime %d, version %q", info.GetUptimeMilliseconds(), info.GetFrameworkVersion())
	}
	info.UptimeMilliseconds, info.FrameworkVersion = 0, ""
	want := &controlpb.InfoResponse{Protocol: "plugwire.e2e", Version: 1, Pid: int64(p.Info().PID), Services: []string{"plugwire.e2e.Echo"}}
	if diff := cmp.Diff(want, info, protocmp.Transform()); diff != "" {
		t.Errorf("Info (-want +got):\n%s", diff)
	}

	stream, err := reflectionpb.NewServerReflectionClient(p).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		services = append(services, s.GetName())
	}
	for _, name := range []string{"plugwire.e2e.Echo", "plugwire.v1.Control", "grpc.health.v1.Health"} {
		if !slices.Contains(services, name) {
			t.Errorf("reflection does not list %s: %v", name, services)
		}
	}

	if _, err := echopb.NewEchoClient(p).Fail(ctx, fail("not serving")); err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(ctx); err == nil {
		t.Error("Ping returns nil though the plugin is not serving")
	} else {
		assertSays(t, err.Error(), "reports NOT_SERVING")
	}
}

// TestContextOfOtherPeople calls the functions for handlers with a context that
// is not a handler's.
func TestContextOfOtherPeople(t *testing.T) {
	t.Parallel()
	if plugin.Logger(t.Context()) == nil {
		t.Error("Logger returns nil")
	}
	plugin.SetHealth(t.Context(), false) // has no effect, and does not panic
	if plugin.Stopping(t.Context()) != nil {
		t.Error("Stopping outside of a plugin is not nil")
	}
}
