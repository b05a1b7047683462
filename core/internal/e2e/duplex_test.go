//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// launchDuplex starts the plugin that calls back, and serves h to it. The
// handler's Other becomes the plugin.
func launchDuplex(t *testing.T, h *duplex.Handler, opts ...host.Option) *host.Plugin {
	t.Helper()
	var p *host.Plugin
	launched := make(chan struct{})
	h.Other = func(context.Context) grpc.ClientConnInterface {
		<-launched
		return p
	}
	p = launch(t, command("duplex-plugin"), append([]host.Option{
		host.WithProtocols(duplexpb.DuplexProtocol),
		host.WithServices(duplexpb.ServeDuplex(h)),
	}, opts...)...)
	close(launched)
	return p
}

func TestCallbacks(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launchDuplex(t, &duplex.Handler{}, over)
			c := duplexpb.NewDuplexClient(p)
			for _, depth := range []int32{1, 2, 64} {
				resp, err := c.Descend(testContext(t), &duplexpb.Descent{Depth: depth})
				if err != nil || resp.GetDepth() != depth {
					t.Errorf("depth %d: %v, %v", depth, resp, err)
				}
			}
			var callers sync.WaitGroup
			for range 32 {
				callers.Go(func() {
					for range 10 {
						if resp, err := c.Descend(testContext(t), &duplexpb.Descent{Depth: 5}); err != nil || resp.GetDepth() != 5 {
							t.Errorf("%v, %v", resp, err)
						}
					}
				})
			}
			callers.Wait()
		})
	}
}

func TestCallbackStreams(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launchDuplex(t, &duplex.Handler{}, over)
			for _, depth := range []int32{1, 8} {
				stream, err := duplexpb.NewDuplexClient(p).Relay(testContext(t))
				if err != nil {
					t.Fatal(err)
				}
				for i := range 20 {
					want := bytes.Repeat([]byte{byte(i)}, 1000*i)
					if err := stream.Send(&duplexpb.Chunk{Depth: depth, Data: want}); err != nil {
						t.Fatal(err)
					}
					got, err := stream.Recv()
					if err != nil || !bytes.Equal(got.GetData(), want) {
						t.Fatalf("chunk %d over %d sides: %d bytes, %v", i, depth, len(got.GetData()), err)
					}
				}
				if err := stream.CloseSend(); err != nil {
					t.Fatal(err)
				}
				if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
					t.Errorf("the end: %v", err)
				}
			}
		})
	}
}

// shortDeadline is a deadline that a test waits for: long enough for the handlers
// to begin before, even on a busy machine.
const shortDeadline = 3 * time.Second

// TestCallbackCancelled cancels the outermost of nested calls: the innermost,
// on either side, notices it.
func TestCallbackCancelled(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := host.WithTransports(ways.Named(name))
			holding, released := make(chan struct{}, 1), make(chan struct{}, 1)
			p := launchDuplex(t, &duplex.Handler{Holding: holding, Released: released}, over)
			c := duplexpb.NewDuplexClient(p)

			ctx, cancel := context.WithCancel(testContext(t))
			outcome := make(chan error, 1)
			go func() {
				_, err := c.Hold(ctx, &duplexpb.Descent{Depth: 63}) // the innermost handler is the host's
				outcome <- err
			}()
			waitFor(t, "the innermost call", holding)
			cancel()
			if err := waitFor(t, "the outermost call", outcome); status.Code(err) != codes.Canceled {
				t.Errorf("the cancelled call: %v", err)
			}
			waitFor(t, "the end of the innermost call", released)

			// The deadline goes down with the calls, too.
			ctx, cancel = context.WithTimeout(testContext(t), shortDeadline)
			defer cancel()
			if _, err := c.Hold(ctx, &duplexpb.Descent{Depth: 3}); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the call with a deadline: %v", err)
			}
			waitFor(t, "the innermost call", holding)
			waitFor(t, "the end of the innermost call", released)

			// The next call is not affected.
			if resp, err := c.Descend(testContext(t), &duplexpb.Descent{Depth: 64}); err != nil || resp.GetDepth() != 64 {
				t.Errorf("after that: %v, %v", resp, err)
			}
		})
	}
}

// TestCallbackAfterTheHandler checks a callback after its handler has returned.
func TestCallbackAfterTheHandler(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			called := make(chan struct{}, 1)
			p := launchDuplex(t, &duplex.Handler{}, over, host.WithServiceInterceptors(
				func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					called <- struct{}{}
					return next(ctx, req)
				}, nil))
			if _, err := duplexpb.NewDuplexClient(p).Detach(testContext(t), &duplexpb.Descent{Depth: 1}); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the call of a handler that has returned", called)
		})
	}
}

func TestCallbackFails(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launchDuplex(t, &duplex.Handler{}, over)
			c := duplexpb.NewDuplexClient(p)
			for depth := range int32(4) {
				_, err := c.Fail(testContext(t), &duplexpb.Failure{How: "panic", Depth: depth})
				if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "asked to panic") {
					t.Errorf("a panic, depth %d: %v", depth, err)
				}
				_, err = c.Fail(testContext(t), &duplexpb.Failure{How: "not now", Depth: depth})
				if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "not now") {
					t.Errorf("a status, depth %d: %v", depth, err)
				}
			}
		})
	}
}

// TestNoServices checks the error of a callback to a host without services.
func TestNoServices(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launch(t, command("duplex-plugin"), host.WithProtocols(duplexpb.DuplexProtocol), over)
			_, err := duplexpb.NewDuplexClient(p).Descend(testContext(t), &duplexpb.Descent{Depth: 1})
			if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "host.WithServices") {
				t.Errorf("the call: %v", err)
			}
		})
	}
}

// TestShutdownUnderCallback stops a plugin in the middle of nested calls, which
// may end first. Then it does the same with a call that never ends.
func TestShutdownUnderCallback(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := host.WithTransports(ways.Named(name))
			holding, released := make(chan struct{}, 1), make(chan struct{}, 1)
			p := launchDuplex(t, &duplex.Handler{Holding: holding, Released: released}, over)
			outcome := make(chan error, 1)
			go func() {
				_, err := duplexpb.NewDuplexClient(p).Hold(testContext(t), &duplexpb.Descent{Depth: 3})
				outcome <- err
			}()
			waitFor(t, "the innermost call", holding)
			if _, err := shutdown(p, cutOffGrace); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			waitFor(t, "the end of the innermost call", released)
			if err := waitFor(t, "the outermost call", outcome); err == nil {
				t.Error("the call that was cut off has no error")
			}
		})
	}
}

// TestPluginDiesUnderCallback checks that the handlers of the host end when
// their caller has died.
func TestPluginDiesUnderCallback(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			holding, released := make(chan struct{}, 1), make(chan struct{}, 1)
			p := launchDuplex(t, &duplex.Handler{Holding: holding, Released: released}, over)
			outcome := make(chan error, 1)
			go func() {
				_, err := duplexpb.NewDuplexClient(p).Hold(testContext(t), &duplexpb.Descent{Depth: 1})
				outcome <- err
			}()
			waitFor(t, "the innermost call", holding)
			if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := waitFor(t, "the call", outcome); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "killed") {
				t.Errorf("the call: %v", err)
			}
			waitFor(t, "the end of the host's handler", released)
			waitFor(t, "the end of the plugin", p.Done())
		})
	}
}

func TestServicesErrors(t *testing.T) {
	h := duplexpb.ServeDuplex(&duplex.Handler{})
	for name, tt := range map[string]struct {
		opt  host.Option
		want string
	}{
		"nothing bound": {host.WithServices(duplexpb.ServeDuplex(nil)), "host.WithServices: bind handler <nil>: the handler for protocol plugwire.e2e.duplex/1 is nil"},
		"twice":         {host.WithServices(h, h), "host.WithServices: service plugwire.e2e.duplex.Duplex is bound twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := host.Launch(testContext(t), command("duplex-plugin"), options(t, tt.opt)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestNamedStreamWaits ends the wait for a named stream in every way except by
// the other side.
func TestNamedStreamWaits(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launchDuplex(t, &duplex.Handler{}, over)
			for name, meet := range map[string]func(context.Context, string) (net.Conn, error){"open": p.OpenStream, "accept": p.AcceptStream} {
				ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
				conn, err := meet(ctx, "nobody")
				cancel()
				if conn != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"nobody"`) {
					t.Errorf("%s with a deadline: %v, %v", name, conn, err)
				}
				if _, err := meet(testContext(t), strings.Repeat("x", 256)); err == nil || !strings.Contains(err.Error(), "at most 255") {
					t.Errorf("%s with a long name: %v", name, err)
				}
			}
			// A cancelled wait does not affect later ones.
			ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
			defer cancel()
			_, err := duplexpb.NewDuplexClient(p).Join(ctx, &duplexpb.StreamOrder{Name: "nobody"})
			if status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the plugin met a stream that its host had given up: %v", err)
			}

			ended := make(chan error, 1)
			go func() {
				_, err := p.AcceptStream(testContext(t), "until the end")
				ended <- err
			}()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := waitFor(t, "a wait at the end of the plugin", ended); err == nil {
				t.Error("a wait at the end of the plugin has no error")
			}
		})
	}
}
