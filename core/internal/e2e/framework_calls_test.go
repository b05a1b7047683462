//go:build unix

package e2e_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// witness has a user's interceptors, which record the methods that they see.
type witness struct {
	mu   sync.Mutex // guards seen
	seen []string
}

func (w *witness) note(method string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, method)
}

func (w *witness) option() host.Option {
	return host.WithInterceptors(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			w.note(method)
			return next(ctx, method, req, reply, cc, opts...)
		},
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			w.note(method)
			return next(ctx, desc, cc, method, opts...)
		},
	)
}

func (w *witness) assert(tb testing.TB, want ...string) {
	tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.seen, want) {
		tb.Errorf("interceptors saw %q, want %q", w.seen, want)
	}
}

// TestInterceptorsSeeNoFrameworkCalls makes all calls of the framework itself,
// and to its services, over the whole life of a plugin.
func TestInterceptorsSeeNoFrameworkCalls(t *testing.T) {
	t.Parallel()
	t.Run("a life", func(t *testing.T) {
		t.Parallel()
		var w witness
		p := launch(t, echoPlugin(), w.option())
		if err := p.Ping(testContext(t)); err != nil {
			t.Error(err)
		}
		if _, err := healthpb.NewHealthClient(p).Check(testContext(t), &healthpb.HealthCheckRequest{}); err != nil {
			t.Error(err)
		}
		if _, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{}); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		w.assert(t, echopb.Echo_Unary_FullMethodName)
	})
	t.Run("a failing connect", func(t *testing.T) {
		t.Parallel()
		dir, err := os.MkdirTemp("", "c-") //nolint:usetesting // that one is too long for a socket's path
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		address := filepath.Join(dir, "s")
		ln, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			for {
				conn, err := ln.Accept()
				if err != nil {
					return // closed below
				}
				_ = conn.Close() // the test checks this
			}
		}()
		var w witness
		e := startError(testContext(t), t, shell(answering(address, asleep)), w.option())
		if e.Phase != host.PhaseConnect {
			t.Errorf("phase %s, want %s: %v", e.Phase, host.PhaseConnect, e)
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		<-accepted
		w.assert(t) // none
	})
}
