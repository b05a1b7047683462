package broker

import (
	"context"
	"net"
	"runtime"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// goexitService is a service whose handlers end their goroutines.
type goexitService struct {
	healthpb.UnimplementedHealthServer
}

func (goexitService) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	runtime.Goexit()
	return nil, nil
}

func (goexitService) Watch(*healthpb.HealthCheckRequest, grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	runtime.Goexit()
	return nil
}

// TestGoexit ends the goroutine of a handler that is served through the broker. The caller gets
// an error at once, and Serve still ends with its context.
func TestGoexit(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			unlink := join(host, plugin)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			id := plugin.NextID()
			serving, stop := context.WithCancel(ctx)
			served := make(chan error, 1)
			go func() {
				served <- plugin.serve(serving, id, services(func(r grpc.ServiceRegistrar) { healthpb.RegisterHealthServer(r, goexitService{}) }))
			}()
			conn, err := host.Dial(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if err := check(ctx, conn); status.Code(err) != codes.Internal {
				t.Errorf("unary: %v, want %v", err, codes.Internal)
			}
			watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = watch.Recv()
			}
			if status.Code(err) != codes.Internal {
				t.Errorf("stream: %v, want %v", err, codes.Internal)
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			plugin.Close(net.ErrClosed)
			host.Close(net.ErrClosed)
			unlink()
		})
	}
}
