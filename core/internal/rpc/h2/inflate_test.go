package h2_test

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// TestCompressedMessages sends messages that are small while they are compressed and large
// after that. The limit bounds the decompressed ones, until their calls end.
func TestCompressedMessages(t *testing.T) {
	t.Parallel()
	for name, registering := range map[string]func(svc *service) func(*clientConfig, *serverConfig){
		"bound": func(*service) func(*clientConfig, *serverConfig) {
			return func(*clientConfig, *serverConfig) {}
		},
		"registered on the server": registeringItself,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testCompressedMessages(t, registering)
		})
	}
}

// registeringItself makes svc register itself on the server, as protocol.FromServer does.
func registeringItself(svc *service) func(*clientConfig, *serverConfig) {
	return func(_ *clientConfig, server *serverConfig) {
		server.RequiresServer = true
		server.IsControl = func(string) bool { return false }
		server.Application = func(r grpc.ServiceRegistrar) error {
			return r.(*calls.Guard).RegisterServer(func(s *grpc.Server) error {
				testpb.RegisterTestServiceServer(s, svc)
				return nil
			})
		}
	}
}

func testCompressedMessages(t *testing.T, registering func(svc *service) func(*clientConfig, *serverConfig)) {
	t.Helper()
	const (
		largest  = 256 << 10
		room     = 3 * largest
		inFlight = 12
	)
	var arrived sync.WaitGroup // of the calls, in a handler or at an end
	svc := &service{
		unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if !req.GetFillUsername() {
				return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: req.GetPayload().GetBody()[:1]}}, nil
			}
			arrived.Done()
			<-ctx.Done()
			runtime.KeepAlive(req)
			return nil, ctx.Err()
		},
		duplex: func(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
			for {
				if _, err := stream.Recv(); err != nil {
					return err
				}
				if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
					return err
				}
			}
		},
	}
	p := connect(t, svc, limited(calls.Limits{Buffered: room}), registering(svc), func(client *clientConfig, server *serverConfig) {
		client.MaxMessageSize, server.MaxMessageSize = largest, largest
	})
	payload := &testpb.Payload{Body: bytes.Repeat([]byte{'x'}, largest-1<<10)}
	compressed := grpc.UseCompressor(gzip.Name)

	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	arrived.Add(inFlight)
	var mu sync.Mutex
	refused := 0
	var all sync.WaitGroup
	for range inFlight {
		all.Go(func() {
			_, err := p.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload, FillUsername: true}, compressed)
			if status.Code(err) == codes.Canceled {
				return // it was in its handler
			}
			mu.Lock()
			refused++
			mu.Unlock()
			assertExhausted(t, "a call with a compressed message", err, "plugin.WithMaxBuffered")
			arrived.Done()
		})
	}
	arrived.Wait()
	mu.Lock()
	if most := room / (largest - 1<<10); inFlight-refused > most {
		t.Errorf("%d calls hold their messages, want at most %d", inFlight-refused, most)
	}
	mu.Unlock()
	cancel()
	all.Wait()

	// The room is free again as soon as the handlers have returned, for each call and each
	// message of a stream.
	for {
		_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{Payload: payload}, compressed)
		if err == nil {
			break
		}
		if assertExhausted(t, "until the handlers have returned", err); t.Failed() {
			return
		}
	}
	for range 2 * room / largest {
		if _, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{Payload: payload}, compressed); err != nil {
			t.Fatal("a call after that: ", err)
		}
	}
	stream, err := p.FullDuplexCall(bounded(t), compressed)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 * room / largest {
		err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatalf("message %d of a stream: %v", n, err)
		}
	}
}

// TestCompressedMessageIsTooLarge sends a message that is larger than the limit on one
// message after decompression.
func TestCompressedMessageIsTooLarge(t *testing.T) {
	t.Parallel()
	p := connect(t, holding(), func(_ *clientConfig, server *serverConfig) { server.MaxMessageSize = 64 << 10 })
	_, err := p.UnaryCall(bounded(t), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 128<<10)}}, grpc.UseCompressor(gzip.Name))
	assertExhausted(t, "a large message", err, "WithMaxMessageSize")
}
