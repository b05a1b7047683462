package h2_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

type (
	duplexServer = grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]
	duplexClient = grpc.BidiStreamingClient[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]
)

// TestGoexit ends the goroutine of a call from a handler and from interceptors, at
// different times of the call. The call ends as after a panic: at once, with
// codes.Internal. The peer goes on, and the call is no longer in flight.
func TestGoexit(t *testing.T) {
	t.Parallel()
	exit := func(at string) func(string) {
		return func(here string) {
			if here == at {
				runtime.Goexit()
			}
		}
	}
	for _, tt := range []struct {
		name   string
		stream bool
		got    int // messages that the caller receives before the end
	}{
		{name: "unary"},
		{name: "unary, after a header"},
		{name: "before the handler"},
		{name: "after the handler"},
		{name: "stream", stream: true},
		{name: "stream, after a message", stream: true, got: 1},
		{name: "stream, after the last message", stream: true, got: 1},
		{name: "before the stream", stream: true},
		{name: "after the stream", stream: true, got: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := exit(tt.name)
			svc := &service{
				unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
					at("unary")
					if tt.name == "unary, after a header" {
						if err := grpc.SendHeader(ctx, nil); err != nil {
							return nil, err
						}
					}
					at("unary, after a header")
					return &testpb.SimpleResponse{}, nil
				},
				duplex: func(stream duplexServer) error {
					at("stream")
					if _, err := stream.Recv(); err != nil {
						return err
					}
					if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
						return err
					}
					at("stream, after a message")
					if _, err := stream.Recv(); err == nil {
						t.Error("the caller sent more than one message")
					}
					at("stream, after the last message")
					return nil
				},
			}
			told := make(chan string, 1)
			p := connect(t, svc, func(_ *clientConfig, server *serverConfig) {
				server.Unary = append(server.Unary, func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					at("before the handler")
					resp, err := next(ctx, req)
					at("after the handler")
					return resp, err
				})
				server.Stream = append(server.Stream, func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					at("before the stream")
					err := next(srv, ss)
					at("after the stream")
					return err
				})
				server.DrainAnswers = tt.got > 0 // with and without
				server.OnPanic = func(_ context.Context, method string, value any, stack []byte) {
					if !strings.Contains(string(stack), "goexit_test.go") {
						t.Errorf("the stack does not show where:\n%s", stack)
					}
					told <- method + ": " + value.(error).Error()
				}
			})
			method := "UnaryCall"
			var err error
			if tt.stream {
				method = "FullDuplexCall"
				stream, openErr := p.FullDuplexCall(bounded(t))
				if openErr != nil {
					t.Fatal(openErr)
				}
				var got int
				if got, err = converse(stream); got != tt.got {
					t.Errorf("%d messages, want %d", got, tt.got)
				}
			} else {
				_, err = p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
			}
			method = "/grpc.testing.TestService/" + method
			const why = "called runtime.Goexit, as testing's FailNow does"
			if s := status.Convert(err); s.Code() != codes.Internal || !strings.Contains(s.Message(), "the handler of "+method+" "+why) {
				t.Errorf("the call ended with %v, want %v and why", err, codes.Internal)
			}
			if s := receive(t, "OnPanic", told); !strings.HasPrefix(s, method) || !strings.Contains(s, why) {
				t.Errorf("OnPanic was told %q", s)
			}
			if err := p.client.Invoke(bounded(t), "/grpc.health.v1.Health/Check", &testpb.Empty{}, &testpb.Empty{}); err != nil {
				t.Errorf("a call after that: %v", err)
			}
			if err := p.server.Drain(bounded(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// converse sends one message, says that it was the last, and receives until the end.
func converse(stream duplexClient) (got int, err error) {
	if err := stream.Send(&testpb.StreamingOutputCallRequest{}); err != nil && !errors.Is(err, io.EOF) { // which says that Recv has the error
		return 0, err
	}
	if err := stream.CloseSend(); err != nil {
		return 0, err
	}
	for ; ; got++ {
		if _, err := stream.Recv(); err != nil {
			return got, err
		}
	}
}

// TestPanicAfterGoexit panics in a function that runtime.Goexit runs: the end of the
// goroutine goes on after the panic was recovered.
func TestPanicAfterGoexit(t *testing.T) {
	t.Parallel()
	svc := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		defer func() { panic("on the way out") }()
		runtime.Goexit()
		return nil, nil
	}}
	p := connect(t, svc, func(_ *clientConfig, server *serverConfig) {
		server.OnPanic = func(context.Context, string, any, []byte) {}
	})
	_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.Internal || !strings.HasSuffix(s.Message(), ": on the way out") {
		t.Errorf("the call ended with %v, want the panic", err)
	}
}
