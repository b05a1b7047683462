package plugin

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/session"
)

// hang is more than anything here takes that is not stuck.
const hang = 20 * time.Second

// hostSide is a connection to a host that serves health, which close ends.
func hostSide(t *testing.T) (h *hostConn, lose func()) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	ours, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	h = newHostConn(newTestConfig(t), &negotiation.Offer{Plugwire: true, Callbacks: true})
	serving := make(chan error, 1)
	go func() { serving <- h.serve(&session.Stream{Conn: ours}) }()
	t.Cleanup(func() {
		h.close()
		if err := <-serving; err != nil {
			t.Errorf("serve: %v", err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("the host: %v", err)
		}
	})
	return h, server.Stop
}

func newTestConfig(t *testing.T) *config {
	t.Helper()
	cfg, err := newConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Calls to a host that can no longer be reached end, in flight and new ones.
func TestHostLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	h, lose := hostSide(t)
	client := healthpb.NewHealthClient(h)
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	lose()
	_, inFlight := watch.Recv()
	_, after := client.Check(ctx, &healthpb.HealthCheckRequest{})
	for name, err := range map[string]error{"in flight": inFlight, "after": after} {
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the connection to the host was lost") {
			t.Errorf("a call %s: %v", name, err)
		}
	}
}

// A stream for callbacks on which the host says nothing does not hold a stop up,
// and a second one is refused.
func TestSilentCallbacks(t *testing.T) {
	h := newHostConn(newTestConfig(t), &negotiation.Offer{Plugwire: true, Callbacks: true})
	ours, theirs := net.Pipe()
	defer theirs.Close()
	served := make(chan error, 1)
	go func() { served <- h.serve(&session.Stream{Conn: ours}) }()
	if _, err := theirs.Read(make([]byte, 1)); err != nil { // it has begun
		t.Fatal(err)
	}
	h.close()
	select {
	case err := <-served:
		if err == nil {
			t.Error("serve: no error for a stream that was never ready")
		}
	case <-time.After(hang):
		t.Fatal("serve goes on after close")
	}
	if err := h.serve(&session.Stream{Conn: ours}); err == nil {
		t.Error("another stream was accepted")
	}
	_, err := healthpb.NewHealthClient(h).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a call after close: %v", err)
	}
}

// A host opens many streams for callbacks and says nothing on them: most are refused at
// once, because each holds a descriptor, and the others end with the plugin.
func TestSilentCallbacksAreBounded(t *testing.T) {
	const streams = 200
	for _, tt := range []struct {
		name string
		link hostLink
		most int
		err  error
	}{
		{"launched", newHostConn(newTestConfig(t), &negotiation.Offer{Plugwire: true, Callbacks: true}), 1, errSecondStream},
		{"debugged", newHostConns(newTestConfig(t)), maxHosts, errManyHosts},
	} {
		t.Run(tt.name, func(t *testing.T) {
			served := make(chan error, streams)
			for range streams {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				go io.Copy(io.Discard, theirs)
				go func() {
					err := tt.link.serve(&session.Stream{Conn: ours})
					_ = ours.Close() // as the listener does
					served <- err
				}()
			}
			next := func() error {
				select {
				case err := <-served:
					return err
				case <-time.After(hang):
					t.Fatal("streams wait for ever")
					return nil
				}
			}
			for range streams - tt.most {
				if err := next(); !errors.Is(err, tt.err) {
					t.Errorf("serve: %v, want %v", err, tt.err)
				}
			}
			if len(served) > 0 {
				t.Errorf("fewer than %d streams wait", tt.most)
			}
			tt.link.close()
			for range tt.most {
				if err := next(); err == nil {
					t.Error("serve: no error for a stream that was never ready")
				}
			}
		})
	}
}

func TestHostOutsideOfAHandler(t *testing.T) {
	_, err := healthpb.NewHealthClient(Host(t.Context())).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "plugin.Host") {
		t.Errorf("Host: %v", err)
	}
	if _, err := OpenStream(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), `open stream "x"`) {
		t.Errorf("OpenStream: %v", err)
	}
	if _, err := AcceptStream(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), `accept stream "x"`) {
		t.Errorf("AcceptStream: %v", err)
	}
}
