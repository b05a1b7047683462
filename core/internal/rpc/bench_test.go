package rpc_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/plugintest"
)

// benchmarkOnEachWire runs a benchmark on each wire. Both sides are in this process: compare
// the wires, not with other programs.
func benchmarkOnEachWire(b *testing.B, svc *service, run func(b *testing.B, client testpb.TestServiceClient)) {
	b.Helper()
	for _, wire := range []string{handshake.WireH2, "pw/1"} {
		b.Run(wire, func(b *testing.B) {
			p := plugintest.StartWith(b, bind(b, "calls", svc), exampletest.Loopback{}, nil, host.WithWire(wire))
			b.ReportAllocs()
			run(b, testpb.NewTestServiceClient(p))
		})
	}
}

func BenchmarkUnary(b *testing.B) {
	benchmarkOnEachWire(b, &service{}, func(b *testing.B, client testpb.TestServiceClient) {
		b.Helper()
		request := &testpb.SimpleRequest{Payload: payload(64)}
		for b.Loop() {
			if _, err := client.UnaryCall(b.Context(), request); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUnaryMetadata makes calls with a deadline, and two pairs of metadata each way.
func BenchmarkUnaryMetadata(b *testing.B) {
	svc := &service{unary: func(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if len(metadata.ValueFromIncomingContext(ctx, "key-1")) != 1 {
			return nil, context.Canceled
		}
		return &testpb.SimpleResponse{Payload: r.GetPayload()}, grpc.SetHeader(ctx, metadata.Pairs("key-1", "value-1", "key-2", "value-2"))
	}}
	benchmarkOnEachWire(b, svc, func(b *testing.B, client testpb.TestServiceClient) {
		b.Helper()
		request := &testpb.SimpleRequest{Payload: payload(64)}
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			ctx = metadata.AppendToOutgoingContext(ctx, "key-1", "value-1", "key-2", "value-2")
			var header metadata.MD
			_, err := client.UnaryCall(ctx, request, grpc.Header(&header))
			cancel()
			if err != nil || len(header["key-1"]) != 1 {
				b.Fatal(err, header)
			}
		}
	})
}

func BenchmarkUnaryCallers(b *testing.B) {
	benchmarkOnEachWire(b, &service{}, func(b *testing.B, client testpb.TestServiceClient) {
		b.Helper()
		request := &testpb.SimpleRequest{Payload: payload(64)}
		var callers sync.WaitGroup
		const n = 64
		each := b.N/n + 1
		for range n {
			callers.Go(func() {
				for range each {
					if _, err := client.UnaryCall(b.Context(), request); err != nil {
						b.Error(err)
					}
				}
			})
		}
		callers.Wait()
	})
}

func BenchmarkEcho64K(b *testing.B) {
	benchmarkOnEachWire(b, &service{}, func(b *testing.B, client testpb.TestServiceClient) {
		b.Helper()
		request := &testpb.SimpleRequest{Payload: payload(64 << 10)}
		b.SetBytes(64 << 10)
		for b.Loop() {
			if _, err := client.UnaryCall(b.Context(), request); err != nil {
				b.Fatal(err)
			}
		}
	})
}
