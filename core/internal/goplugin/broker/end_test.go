package broker

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestEndOfTheOtherProcess ends the process of the other side. A brokered connection then ends
// before the broker does. Its calls, and dials, fail with the reason of the broker's end.
func TestEndOfTheOtherProcess(t *testing.T) {
	for name, pair := range modes {
		t.Run(name, func(t *testing.T) {
			host, plugin := pair(t)
			exited := make(chan struct{})
			host.cfg.Exited = exited
			unlink := join(host, plugin)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			id := plugin.NextID()
			served := make(chan error, 1)
			go func() { served <- plugin.serve(ctx, id, registerHealth) }()
			dialed, err := host.dial(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			watch, err := healthpb.NewHealthClient(dialed).Watch(ctx, &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = watch.Recv()
			}
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := watch.Recv()
				ended <- err
			}()
			close(exited)
			reason := errors.New("the plugin has crashed")
			plugin.Close(errors.New("no reason reaches the other side"))
			<-dialed.peer.Lost()
			select {
			case err := <-ended:
				t.Errorf("the call ended before its reason was known: %v", err)
				ended <- err
			default:
			}
			host.Close(reason)
			if err := <-ended; status.Code(err) != codes.Unavailable || !errors.Is(err, reason) {
				t.Errorf("the call ended with %v, want %v", err, reason)
			}
			if err := check(ctx, dialed); !errors.Is(err, reason) {
				t.Errorf("a call after that: %v, want %v", err, reason)
			}
			if _, err := host.Dial(ctx, id); !errors.Is(err, reason) {
				t.Errorf("a dial after that: %v, want %v", err, reason)
			}
			if err := <-served; err == nil {
				t.Error("Serve = nil, and its context has not ended")
			}
			if err := dialed.Close(); err != nil {
				t.Error(err)
			}
			unlink()
		})
	}
}
