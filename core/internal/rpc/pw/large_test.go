package pw_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/rpc/pw"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

// echoService sends each message back.
type echoService struct {
	testpb.UnimplementedTestServiceServer
}

func (echoService) UnaryCall(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

func (echoService) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the caller has seen it
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

// connect returns a client of svc, over a Unix socket.
func connect(tb testing.TB, svc testpb.TestServiceServer) testpb.TestServiceClient {
	tb.Helper()
	listener, err := net.Listen("unix", filepath.Join(tb.TempDir(), "s"))
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	near, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	client := calls.ClientConfig{Side: "host", Other: "plugin", MaxMessageSize: 16 << 20, IsControl: func(string) bool { return false }}
	a, err := pw.Wire{}.NewAcceptor(calls.ServerConfig{
		Side: "plugin", Other: "host", MaxMessageSize: 16 << 20,
		IsControl: func(string) bool { return false },
		OnPanic:   func(_ context.Context, _ string, value any, stack []byte) { tb.Errorf("%v\n%s", value, stack) },
		Application: func(r grpc.ServiceRegistrar) error {
			testpb.RegisterTestServiceServer(r, svc)
			return nil
		},
	}, calls.ClientConfig{Side: "plugin", Other: "host", MaxMessageSize: 16 << 20, IsControl: client.IsControl})
	if err != nil {
		tb.Fatal(err)
	}
	back, err := a.Accept(context.Background(), &session.Stream{Conn: far, Info: secure.Info{Security: "none"}})
	if err != nil {
		tb.Fatal(err)
	}
	conn, _, err := pw.Wire{}.Connect(context.Background(), func(context.Context, session.Purpose) (*session.Stream, error) {
		return &session.Stream{Conn: near, Info: secure.Info{Security: "none"}}, nil
	}, client, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		conn.Close()
		back.Close()
		a.Close()
	})
	go func() {
		<-conn.Lost()
		conn.Fail(fmt.Errorf("lost: %w", net.ErrClosed))
	}()
	return testpb.NewTestServiceClient(conn)
}

// TestLargeMessages echoes messages of random sizes around those at which the wire changes
// how it sends, many at once.
func TestLargeMessages(t *testing.T) {
	client := connect(t, echoService{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	body := make([]byte, 3<<20)
	for i := range body {
		body[i] = byte(i * i >> 7)
	}
	done := make(chan error, 8)
	for worker := range 8 {
		go func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 100 {
				near := []int{64 << 10, 128 << 10, 256 << 10, 1 << 20}[random.IntN(4)]
				size := max(0, near+random.IntN(64)-32)
				from := random.IntN(1 << 20)
				want := body[from : from+size]
				got, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: want}})
				if err != nil {
					done <- err
					return
				}
				if !bytes.Equal(got.GetPayload().GetBody(), want) {
					done <- fmt.Errorf("other bytes in a message of %d", size)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{64 << 10, 200 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "K"), func(b *testing.B) {
			client := connect(b, echoService{})
			request := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, size)}}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.UnaryCall(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
