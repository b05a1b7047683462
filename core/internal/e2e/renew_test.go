//go:build unix

package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// ask makes a call to a running plugin, which must succeed. On a busy machine the call
// may take longer than the server's grace for an ended connection: then ask tries
// again.
func ask(t *testing.T, client echopb.EchoClient, how string) *echopb.Payload {
	t.Helper()
	for {
		resp, err := client.Fail(testContext(t), fail(how))
		switch {
		case err == nil:
			return resp
		case !strings.Contains(err.Error(), `received prior goaway: code: NO_ERROR, debug data: "max_age"`):
			t.Fatalf("a call to a plugin that lives: %v", err)
		}
	}
}

// connections returns how many connections the plugin has had so far.
func connections(t *testing.T, client echopb.EchoClient) int {
	t.Helper()
	return atoi(t, string(ask(t, client, "connections").GetData()))
}

// outlive calls until the plugin has had the given number of connections.
func outlive(t *testing.T, client echopb.EchoClient, want int) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); connections(t, client) < want; <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("the plugin has had %d connections, want %d", connections(t, client), want)
		}
	}
}

// idleFor lets the server end idle connections, n times.
func idleFor(t *testing.T, client echopb.EchoClient, times int) {
	t.Helper()
	before := connections(t, client)
	for pause := 5 * time.Millisecond; connections(t, client) < before+times; pause = min(2*pause, time.Second) {
		time.Sleep(pause) // there is no call meanwhile
	}
}

// TestRenewedConnections calls foreign plugins whose servers renew or end connections: no
// call fails, their output arrives, and they stop when the host asks them.
func TestRenewedConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		args  []string
		opts  []host.Option
		idle  bool
		plain bool
		mux   bool
	}{
		{name: "go-plugin with an age", args: []string{"-age", "30ms", "-grace", "30ms"}},
		{name: "go-plugin with an age and calls of any length", args: []string{"-age", "30ms"}},
		{name: "go-plugin with an age, mutual TLS", args: []string{"-age", "30ms", "-grace", "30ms"}, opts: []host.Option{host.WithMutualTLS()}},
		{name: "go-plugin with an age, multiplexed", args: []string{"-age", "30ms", "-grace", "30ms"}, opts: []host.Option{host.WithMultiplex()}, mux: true},
		{name: "another with an age", args: []string{"-plain", "-age", "30ms", "-grace", "30ms"}, plain: true},
		{name: "another with an idle timeout", args: []string{"-plain", "-idle", "10ms"}, plain: true, idle: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if raceEnabled && tt.mux {
				t.Skip("go-plugin v1.8.0 has a data race of its own in this mode: os.Stdout in Serve, and in the goroutine of its listener")
			}
			var taken steps
			var stdout lockedBuffer
			p := launch(t, command("goplugin-peer", append([]string{"renew"}, tt.args...)...), append(tt.opts, taken.trace(), host.WithStdout(&stdout))...)
			conn, err := p.ClientConn() // it stays the same
			if err != nil {
				t.Fatal(err)
			}
			client := echopb.NewEchoClient(conn)
			if tt.idle {
				idleFor(t, client, 3)
			} else {
				outlive(t, client, 8)
			}
			if ask(t, echopb.NewEchoClient(p), "connections") == nil {
				t.Error("the plugin itself has no answer")
			}
			// go-plugin loses unsent output when the connection ends.
			for deadline := time.Now().Add(hang); !strings.Contains(stdout.String(), "printed on stdout"); time.Sleep(time.Millisecond) {
				ask(t, client, "print")
				if time.Now().After(deadline) {
					t.Fatal("what the plugin has printed does not arrive")
				}
			}
			if isClosed(p.Done()) {
				t.Fatalf("it counts as ended: %v", p.Err())
			}
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			want := []host.Step{host.StepAsk}
			if tt.plain {
				want = append(want, "terminate, as it cannot be asked")
			}
			taken.assert(t, want...)
		})
	}
}

// TestCallsOverRenewals checks that calls in flight continue on connections that the
// server has announced to end.
func TestCallsOverRenewals(t *testing.T) {
	t.Parallel()
	p := launch(t, command("goplugin-peer", "renew", "-age", "30ms"))
	client := echopb.NewEchoClient(p)
	chat, err := client.Chat(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		t.Helper()
		if err := chat.Send(payload(text)); err != nil {
			t.Fatal(err)
		}
		if resp, err := chat.Recv(); err != nil || string(resp.GetData()) != text {
			t.Fatalf("%q, %v", resp.GetData(), err)
		}
	}
	say("before")
	outlive(t, client, 6)
	say("after")
	if err := chat.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestCutConnection calls a server that ends its connections without an announcement,
// with an RST, or that refuses new ones for a while: only the calls on these
// connections fail.
func TestCutConnection(t *testing.T) {
	t.Parallel()
	for network, ways := range map[string][]string{"unix": {"cut", "away", "mute"}, "tcp": {"cut", "reset", "mute"}} {
		for _, how := range ways {
			t.Run(how+" "+network, func(t *testing.T) {
				t.Parallel()
				p := launch(t, command("goplugin-peer", "renew", "-plain", "-network", network),
					host.WithTransports(unix.New(), tcp.New()), host.WithPlaintext())
				client := echopb.NewEchoClient(p)
				const times = 3
				for range times {
					if _, err := client.Fail(testContext(t), fail(how)); status.Code(err) != codes.Unavailable {
						t.Fatalf("the call that is cut: %v", err)
					}
					// While the server refuses connections, calls fail with the reason.
					resp, err := client.Unary(testContext(t), payload("next"))
					for deadline := time.Now().Add(hang); err != nil && how != "cut" && how != "reset"; time.Sleep(time.Millisecond) {
						if status.Code(err) != codes.Unavailable || time.Now().After(deadline) {
							break
						}
						resp, err = client.Unary(testContext(t), payload("next"))
					}
					if err != nil || string(resp.GetData()) != "next" {
						t.Fatalf("the next call: %q, %v", resp.GetData(), err)
					}
				}
				if n := connections(t, client); n != 1+times {
					t.Errorf("%d connections on which something was said, want %d", n, 1+times)
				}
				if err := p.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
	}
}

// TestMutePlugin stops a plugin that ends its connection and sends nothing on the
// next: the host cannot ask it, and logs why.
func TestMutePlugin(t *testing.T) {
	t.Parallel()
	p, err := host.Launch(testContext(t), command("goplugin-peer", "renew", "-plain", "-away", "1h"), options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("mute"))
		cut <- err
	}()
	if err := waitFor(t, "the call that is cut", cut); status.Code(err) != codes.Unavailable {
		t.Errorf("the call that is cut: %v", err)
	}
	err = p.Close()
	exit, ok := errors.AsType[*host.ExitError](err)
	if !ok || exit.Status != (host.ExitStatus{}) {
		t.Fatalf("Close: %v, want an ExitError of a plugin that ended at SIGTERM", err)
	}
	assertSays(t, err.Error(), "could not be asked to stop", "does not answer on a new one within 2s")
	assertGone(t, p.Info().PID, "")
}

// TestUnreachablePlugin stops a plugin that ends its connection, refuses others, and
// keeps running. Errors of calls say so. The host cannot ask it to stop, so it sends
// SIGTERM at once.
func TestUnreachablePlugin(t *testing.T) {
	t.Parallel()
	var taken steps
	p, err := host.Launch(testContext(t), command("goplugin-peer", "renew", "-plain"), options(t, taken.trace())...)
	if err != nil {
		t.Fatal(err)
	}
	client := echopb.NewEchoClient(p)
	_, err = client.Fail(testContext(t), fail("deaf"))
	for range 3 {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("a call: %v, want Unavailable", err)
		}
		assertSays(t, err.Error(), "has ended the connection, goes on running, and cannot be dialed again", "dial")
		_, err = client.Unary(testContext(t), payload("hello"))
	}
	if isClosed(p.Done()) {
		t.Errorf("it counts as ended: %v", p.Err())
	}
	began := time.Now()
	err = p.Close()
	if took := time.Since(began); took > host.DefaultGrace*3/4 {
		t.Errorf("Close took %v, which is its grace", took)
	}
	exit, ok := errors.AsType[*host.ExitError](err)
	if !ok || exit.Status != (host.ExitStatus{}) {
		t.Fatalf("Close: %v, want an ExitError of a plugin that ended at SIGTERM", err)
	}
	assertSays(t, err.Error(), "could not be asked to stop", "dial")
	taken.assert(t, host.StepAsk, "terminate, as it cannot be asked")
	assertGone(t, p.Info().PID, "")
}

// TestCrashAfterRenewals checks that calls that a crash has ended have its reason,
// even after renewals of the connection.
func TestCrashAfterRenewals(t *testing.T) {
	t.Parallel()
	p := launch(t, command("goplugin-peer", "renew", "-age", "30ms"))
	client := echopb.NewEchoClient(p)
	outlive(t, client, 3)
	_, err := client.Fail(testContext(t), fail("crash"))
	assertCrashed(t, err)
	waitFor(t, "Done", p.Done())
	if _, err := client.Unary(testContext(t), payload("later")); !errors.Is(err, p.Err()) {
		t.Errorf("a later call: %v, want %v", err, p.Err())
	}
}

// TestAttachToRenewing attaches to a foreign plugin whose server renews connections,
// with and without proof of its process, and notices its end either way.
func TestAttachToRenewing(t *testing.T) {
	t.Parallel()
	for _, proven := range []bool{true, false} {
		t.Run("proven "+strconv.FormatBool(proven), func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "renew-") //nolint:usetesting // the path of a socket has to be short
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			plugin := startByHand(t, command("goplugin-peer", "renew", "-plain", "-age", "30ms"), negotiation.EnvSocketDir+"="+dir)
			info, err := handshake.ParseAttachInfo(`{"Protocol":"grpc","ProtocolVersion":1,"Addr":{"Network":"unix","String":"` + filepath.Join(dir, "renewing") + `"}}`)
			if err != nil {
				t.Fatal(err)
			}
			if proven {
				info.PID = plugin.cmd.Process.Pid
			}
			p, err := host.Attach(testContext(t), info, options(t)...)
			if err != nil {
				t.Fatal(err)
			}
			client := echopb.NewEchoClient(p)
			outlive(t, client, 6)
			hanging := make(chan error, 1)
			go func() {
				_, err := client.Fail(testContext(t), fail("hang"))
				hanging <- err
			}()
			if err := plugin.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := waitFor(t, "the call in flight", hanging); status.Code(err) != codes.Unavailable {
				t.Errorf("the call in flight: %v", err)
			}
			waitFor(t, "Done", p.Done())
			_ = p.Close() // the plugin has ended already, because Done is closed
		})
	}
}
