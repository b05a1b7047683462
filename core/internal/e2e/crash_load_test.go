//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
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
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

const (
	loadCallers = 8
	loadMessage = 1 << 20
	// crashSpread is the time, after the first answers, in which the plugin is killed:
	// some calls of each kind.
	crashSpread = 20 * time.Millisecond
)

// load makes calls in each of the ways, until a call fails, and returns the errors.
// It reports the first answer.
func load(ways []func() error, answered chan<- struct{}) <-chan error {
	ended := make(chan error, loadCallers)
	for i := range loadCallers {
		go func() {
			for n := 0; ; n++ {
				if err := ways[(i+n)%len(ways)](); err != nil {
					ended <- err
					return
				}
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		}()
	}
	return ended
}

// crashUnderLoad kills the plugin in the middle of the load and checks how each call
// ended.
func crashUnderLoad(t *testing.T, p *host.Plugin, calls []func() error) {
	t.Helper()
	answered := make(chan struct{}, 1)
	ended := load(calls, answered)
	waitFor(t, "the first answer", answered)
	time.Sleep(rand.N(crashSpread))
	if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range loadCallers {
		exit := asExit(t, waitFor(t, "a call", ended))
		if exit.Status != (host.ExitStatus{Signal: "killed"}) {
			t.Errorf("%v, want that it was killed", exit.Status)
		}
	}
	waitFor(t, "Done", p.Done())
}

// TestCrashUnderLoad kills the plugin while calls of each kind carry large messages both
// ways: whatever a call was doing, its error is how the plugin ended.
func TestCrashUnderLoad(t *testing.T) {
	t.Parallel()
	data := &echopb.Payload{Data: make([]byte, loadMessage)}
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 4 {
				p := launchMatrix(t, name)
				ctx := testContext(t)
				crashUnderLoad(t, p.Plugin, []func() error{
					func() error {
						_, err := p.Unary(ctx, data)
						return err
					},
					func() error {
						stream, err := p.Chat(ctx)
						for range 4 {
							if err == nil {
								err = stream.Send(data)
							}
							if err == nil || errors.Is(err, io.EOF) { // io.EOF means that Recv has the error
								_, err = stream.Recv()
							}
						}
						if err != nil {
							return err
						}
						return stream.CloseSend()
					},
					func() error {
						stream, err := p.Upload(ctx)
						for i := 0; err == nil && i < 4; i++ {
							err = stream.Send(data)
						}
						if err == nil || errors.Is(err, io.EOF) {
							_, err = stream.CloseAndRecv()
						}
						return err
					},
					func() error {
						err := drain(p.Download(ctx, &echopb.DownloadRequest{Count: 4, Size: loadMessage}))
						if errors.Is(err, io.EOF) {
							return nil
						}
						return err
					},
				})
			}
		})
	}
}

// TestCrashUnderCallbacks does the same with calls that go through the host and back to
// the plugin: the host's own calls for the plugin have that error too.
func TestCrashUnderCallbacks(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 4 {
				var nested sync.Map
				var p *host.Plugin
				launched := make(chan struct{})
				h := &duplex.Handler{Other: func(context.Context) grpc.ClientConnInterface {
					<-launched
					return p
				}}
				p = launch(t, command("duplex-plugin"), append(ways.Options(name), host.WithProtocols(duplexpb.DuplexProtocol),
					host.WithServices(duplexpb.ServeDuplex(h)),
					host.WithServiceInterceptors(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
						resp, err := next(ctx, req)
						if err != nil {
							nested.Store(err, nil)
						}
						return resp, err
					}, func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
						err := next(srv, ss)
						return err
					}))...)
				close(launched)
				c := duplexpb.NewDuplexClient(p)
				ctx := testContext(t)
				crashUnderLoad(t, p, []func() error{
					func() error {
						_, err := c.Descend(ctx, &duplexpb.Descent{Depth: 8})
						return err
					},
					func() error {
						stream, err := c.Relay(ctx)
						if err == nil {
							err = stream.Send(&duplexpb.Chunk{Depth: 3, Data: make([]byte, loadMessage)})
						}
						if err == nil || errors.Is(err, io.EOF) {
							_, err = stream.Recv()
						}
						if err != nil {
							return err
						}
						return stream.CloseSend()
					},
				})
				nested.Range(func(key, _ any) bool {
					err := key.(error)
					if _, ok := errors.AsType[*host.ExitError](err); !ok {
						t.Errorf("a call of the host for the plugin: %v", err)
					}
					return true
				})
			}
		})
	}
}

// TestDeadlineAtTheCrash lets deadlines pass when the plugin ends: each call ends
// for one of the two reasons, and none with a cancellation, which no caller asked
// for.
func TestDeadlineAtTheCrash(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 4 {
				p := launchMatrix(t, name)
				deadline := time.Now().Add(50 * time.Millisecond)
				ctx, cancel := context.WithDeadline(testContext(t), deadline)
				canceled, cancelNow := context.WithCancel(testContext(t))
				ended, later := make(chan error, 2*loadCallers), make(chan error, loadCallers)
				for range loadCallers {
					go func() {
						_, err := p.Fail(ctx, fail("hang"))
						ended <- err
					}()
					go func() {
						stream, err := p.Chat(ctx)
						if err == nil {
							_, err = stream.Recv()
						}
						ended <- err
					}()
					go func() {
						_, err := p.Fail(canceled, fail("hang"))
						later <- err
					}()
				}
				time.Sleep(time.Until(deadline) - rand.N(10*time.Millisecond))
				if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(rand.N(10*time.Millisecond), cancelNow)
				for range cap(ended) {
					switch err := waitFor(t, "a call", ended); status.Code(err) {
					case codes.DeadlineExceeded:
						if time.Now().Before(deadline) {
							t.Errorf("before its deadline: %v", err)
						}
					default:
						asExit(t, err)
					}
				}
				for range cap(later) {
					switch err := waitFor(t, "a call", later); status.Code(err) {
					case codes.Canceled:
						if canceled.Err() == nil {
							t.Errorf("without a cancellation: %v", err)
						}
					default:
						asExit(t, err)
					}
				}
				cancel()
				waitFor(t, "Done", p.Done())
			}
		})
	}
}
