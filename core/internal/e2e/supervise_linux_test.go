package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/matrix"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/core/supervise"
	"github.com/plugwire/plugwire/transport/unix"
)

// launching returns a launch function for the program.
func launching(tb testing.TB, cmd *exec.Cmd, opts ...host.Option) supervise.LaunchFunc {
	tb.Helper()
	all := options(tb, opts...)
	return func(ctx context.Context) (*host.Plugin, error) { return host.Launch(ctx, cmd, all...) }
}

// superviseTest keeps a plugin up until the test ends.
func superviseTest(tb testing.TB, launch supervise.LaunchFunc, opts ...supervise.Option) *supervise.Handle {
	tb.Helper()
	h, err := supervise.Start(testContext(tb), launch, append([]supervise.Option{supervise.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
		waitFor(tb, "Done", h.Done())
	})
	return h
}

// eager restarts without a pause, however often a plugin ends.
var eager = supervise.WithPolicy(supervise.Policy{
	Delay: time.Millisecond, MaxDelay: 2 * time.Millisecond, StableAfter: time.Nanosecond, MaxEnds: 1 << 20,
})

// superviseLoad calls until the test stops it, and checks each answer. Each call has a payload
// of its own, so that an answer to another call is noticed. Some calls are streams of
// answers, if streams is set. refused says which errors a
// call may have.
func superviseLoad(t *testing.T, h *supervise.Handle, streams bool, refused func(error) bool) (stop func() (answered, failed int64)) {
	t.Helper()
	var answers, failures atomic.Int64
	var stopping atomic.Bool
	var callers sync.WaitGroup
	client := echopb.NewEchoClient(h)
	for i := range chaosCallers {
		callers.Go(func() {
			for n := 0; !stopping.Load(); n++ {
				data := binary.BigEndian.AppendUint64(nil, uint64(i)<<32|uint64(n))
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				answer, err := client.Unary(ctx, &echopb.Payload{Data: data})
				if err == nil && streams && n%4 == 0 {
					err = drain(client.Download(ctx, &echopb.DownloadRequest{Count: 2, Size: 10}))
					if errors.Is(err, io.EOF) {
						err = nil
					}
				}
				cancel()
				switch {
				case err == nil && bytes.Equal(answer.GetData(), data):
					answers.Add(1)
				case err == nil:
					t.Errorf("call %x was answered %x", data, answer.GetData())
				case refused(err):
					failures.Add(1)
				default:
					t.Errorf("call %x: %v", data, err)
					return
				}
			}
		})
	}
	return func() (int64, int64) {
		stopping.Store(true)
		callers.Wait()
		return answers.Load(), failures.Load()
	}
}

// crashed reports whether an error is that of a call whose plugin has crashed.
func crashed(err error) bool {
	_, exit := errors.AsType[*host.ExitError](err)
	return exit && status.Code(err) == codes.Unavailable && !host.NotBegun(err)
}

// TestSoakSupervisedKills kills a supervised plugin at random moments, in the middle of
// calls and of starts. Each call is answered by its own answer, or fails because it was in
// flight. It reports how long the gap was.
func TestSoakSupervisedKills(t *testing.T) {
	t.Parallel()
	type program struct {
		cmd  *exec.Cmd
		opts []host.Option
	}
	programs := map[string]program{"go-plugin": {onGoPlugin(), nil}}
	for _, name := range ways.Wired() {
		programs[name] = program{command("matrix-plugin"), append(ways.Options(name), host.WithProtocols(matrix.Protocol))}
	}
	for name, program := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := soakRandom(t)
			var process atomic.Int64
			started := make(chan struct{}, 1)
			trace := &host.Trace{ProcessStarted: func(e host.ProcessStartedEvent) {
				var pid int64
				if _, err := fmt.Sscan(e.ID, &pid); err == nil {
					process.Store(pid)
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}}
			h := superviseTest(t, launching(t, program.cmd, append(program.opts, host.WithTrace(trace))...), eager, supervise.WithHold(hang))
			stop := superviseLoad(t, h, false, crashed)
			client := echopb.NewEchoClient(h)
			call := func() bool { // reports whether it was answered
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				defer cancel()
				_, err := client.Unary(ctx, &echopb.Payload{})
				if err != nil && !crashed(err) {
					t.Fatal(err)
				}
				return err == nil
			}
			var gaps []time.Duration
			for round := range soakLength(1000, 20) {
				waitFor(t, "a start", started)
				if round%2 == 0 { // otherwise it is killed while it starts
					call()
				}
				time.Sleep(upTo(rnd, 20*time.Millisecond)) // the moment is the random thing here; nothing is awaited
				if err := syscall.Kill(int(process.Load()), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if round%2 == 0 {
					died := time.Now()
					for !call() { // until it is answered
					}
					gaps = append(gaps, time.Since(died))
				}
			}
			for !call() { // so that a plugin lives when the handle is closed
			}
			answered, failed := stop()
			slices.Sort(gaps)
			t.Logf("%d calls answered, %d lost; from crash to next answer: p50 %v, p99 %v, longest %v",
				answered, failed, gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1])
			if answered == 0 {
				t.Error("no call was answered")
			}
		})
	}
}

// TestSoakSupervisedSwaps swaps the plugin under load, and tries programs that cannot
// replace it. No call fails, also not on go-plugin, whose server ends its calls when it is
// asked to stop.
func TestSoakSupervisedSwaps(t *testing.T) {
	t.Parallel()
	for _, wire := range rpc.Names() {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			swaps(t, echoPlugin(), host.WithWire(wire))
		})
	}
	t.Run("go-plugin", func(t *testing.T) {
		t.Parallel()
		swaps(t, onGoPlugin())
	})
}

// swaps is TestSoakSupervisedSwaps for a plugin.
func swaps(t *testing.T, plugin *exec.Cmd, opts ...host.Option) {
	t.Helper()
	good := launching(t, plugin, opts...)
	h := superviseTest(t, good)
	stop := superviseLoad(t, h, true, func(error) bool { return false })
	broken := map[string]supervise.LaunchFunc{
		"a program that is missing":       launching(t, exec.Command("/nonexistent")),
		"a program that is not a plugin":  launching(t, exec.Command("/bin/true")),
		"another version of the protocol": launching(t, command("matrix-plugin"), append(opts, host.WithProtocols(matrix.Protocol))...),
	}
	swap := func(launch supervise.LaunchFunc) error {
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		return h.Swap(ctx, launch)
	}
	for range soakLength(1000, 20) {
		if err := swap(good); err != nil {
			t.Fatal(err)
		}
	}
	for range soakLength(200, 2) {
		for name, launch := range broken {
			before := h.State()
			if err := swap(launch); err == nil {
				t.Errorf("%s was swapped in", name)
			}
			if after := h.State(); after != before {
				t.Errorf("%s changed the handle from %+v to %+v", name, before, after)
			}
		}
	}
	if answered, failed := stop(); answered == 0 || failed > 0 {
		t.Errorf("%d calls answered, %d failed", answered, failed)
	}
}

// TestSupervisedStreams checks what each kind of stream sees when its plugin ends: all
// end with the plugin, say how it ended, and the next ones are opened at the next plugin.
func TestSupervisedStreams(t *testing.T) {
	t.Parallel()
	for _, name := range ways.Wired() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			launch := launching(t, command("matrix-plugin"), append(ways.Options(name), host.WithProtocols(matrix.Protocol))...)
			h := superviseTest(t, launch, supervise.WithHold(hang))
			client := echopb.NewEchoClient(h)
			ctx := testContext(t)
			chat := func() echopb.Echo_ChatClient {
				t.Helper()
				stream, err := client.Chat(ctx)
				if err == nil {
					err = stream.Send(&echopb.Payload{Data: []byte("x")})
				}
				if err == nil {
					_, err = stream.Recv()
				}
				if err != nil {
					t.Fatal(err)
				}
				return stream
			}
			stream := chat()
			p, err := h.Plugin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			asExit(t, err)
			if _, err := p.OpenStream(ctx, "any"); !errors.Is(err, io.EOF) && err == nil {
				t.Error("a named stream was opened at a plugin that has ended")
			}
			next := chat()
			if err := next.CloseSend(); err != nil {
				t.Error(err)
			}
			q, err := h.Plugin(ctx)
			if err != nil || q == p {
				t.Errorf("the plugin is the one that has ended, %v", err)
			}
		})
	}
}

// TestConfigurationIsUsedAgain checks that each start has the command and the options of
// the first: among them the services that the plugin calls at its host.
func TestConfigurationIsUsedAgain(t *testing.T) {
	t.Parallel()
	h := superviseTest(t, launching(t, command("duplex-plugin"), host.WithProtocols(duplexpb.DuplexProtocol),
		host.WithServices(duplexpb.ServeDuplex(&duplex.Handler{}))), eager, supervise.WithHold(hang))
	ctx := testContext(t)
	for range 3 {
		if _, err := duplexpb.NewDuplexClient(h).Descend(ctx, &duplexpb.Descent{Depth: 1}); err != nil {
			t.Fatal(err)
		}
		p, err := h.Plugin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the end of the plugin", p.Done())
	}
	if _, err := h.Plugin(ctx); err != nil {
		t.Error(err)
	}
}

// killCurrent kills the plugin that takes calls, and returns it when it has ended.
func killCurrent(t *testing.T, h *supervise.Handle) *host.Plugin {
	t.Helper()
	p, err := h.Plugin(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the plugin", p.Done())
	return p
}

// TestSupervisedNamedStream checks that a named stream ends with its plugin, and that the
// next plugin has streams of the same name.
func TestSupervisedNamedStream(t *testing.T) {
	t.Parallel()
	h := superviseTest(t, launching(t, command("duplex-plugin"), host.WithProtocols(duplexpb.DuplexProtocol),
		host.WithServices(duplexpb.ServeDuplex(&duplex.Handler{}))), eager, supervise.WithHold(hang))
	ctx := testContext(t)
	const copied = 1000
	for range 3 {
		p, err := h.Plugin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		joined := make(chan error, 1)
		go func() {
			_, err := duplexpb.NewDuplexClient(h).Join(ctx, &duplexpb.StreamOrder{Name: "met", Bytes: copied})
			joined <- err
		}()
		conn, err := p.OpenStream(ctx, "met")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := duplex.Receive(conn, copied); err != nil {
			t.Error(err)
		}
		if ended := killCurrent(t, h); ended != p {
			t.Error("another plugin was killed")
		}
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came from a plugin that has ended", n)
		}
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		err = waitFor(t, "the call that used the stream", joined)
		asExit(t, err)
		if host.NotBegun(err) {
			t.Errorf("a call that has run counts as one that has not begun: %v", err)
		}
	}
	if _, err := h.Plugin(ctx); err != nil {
		t.Error(err)
	}
}

// TestSupervisedBroker checks that a brokered connection ends with its plugin, and that the
// next plugin has a broker of its own.
func TestSupervisedBroker(t *testing.T) {
	t.Parallel()
	var served sync.WaitGroup
	t.Cleanup(served.Wait)
	h := superviseTest(t, func(context.Context) (*host.Plugin, error) {
		return plugintest.Start(t, echopb.ServeEcho(brokering{served: &served}), unix.New()), nil
	})
	ctx := testContext(t)
	for range 3 {
		p, err := h.Plugin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		id, err := echopb.NewEchoClient(h).Fail(ctx, fail("serve"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := p.Broker().Dial(ctx, uint32(atoi(t, string(id.GetData()))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := echopb.NewEchoClient(conn).Unary(ctx, payload("by the broker")); err != nil {
			t.Error(err)
		}
		if err := h.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the end of the plugin", p.Done())
		if _, err := echopb.NewEchoClient(conn).Unary(ctx, payload("by the broker")); status.Code(err) != codes.Unavailable {
			t.Errorf("a call to a plugin that has ended: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSupervisedHang stops a plugin with SIGSTOP: the handle notices it, and starts
// another one. It waits for two probes, and then for the plugin, which ends neither when it
// is asked nor when it is terminated: 4 s.
func TestSupervisedHang(t *testing.T) {
	t.Parallel()
	h := superviseTest(t, launching(t, echoPlugin()), eager, supervise.WithHold(hang),
		supervise.WithHealth(supervise.Health{Interval: 50 * time.Millisecond, Timeout: time.Second, Failures: 2}))
	ctx := testContext(t)
	p, err := h.Plugin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Info().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err = echopb.NewEchoClient(h).Unary(ctx, &echopb.Payload{})
	if err != nil {
		asExit(t, err) // it was in flight when the plugin was killed
	}
	waitFor(t, "the end of the first plugin", p.Done())
	if _, err := echopb.NewEchoClient(h).Unary(ctx, &echopb.Payload{}); err != nil {
		t.Error(err)
	}
}
