//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// prompt is how soon a call must end after the plugin has ended. A call that
// waits for anything else would hang.
const prompt = hang / 2

func fail(how string) *echopb.FailRequest { return &echopb.FailRequest{How: how} }

// asExit checks that err is the error of calls to a plugin that has ended.
func asExit(tb testing.TB, err error) *host.ExitError {
	tb.Helper()
	if status.Code(err) != codes.Unavailable {
		tb.Errorf("code %v, want %v", status.Code(err), codes.Unavailable)
	}
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		tb.Fatalf("%T is not a *host.ExitError: %v", err, err)
	}
	return exit
}

func assertCrashed(tb testing.TB, err error) {
	tb.Helper()
	exit := asExit(tb, err)
	if exit.Panic != "crashed on demand" || exit.Status != (host.ExitStatus{Code: 2}) || exit.Step != "" {
		tb.Errorf("panic %q, %v, step %q; want the panic, exit code 2 and no step", exit.Panic, exit.Status, exit.Step)
	}
	if !strings.Contains(exit.Stack, "goroutine ") || !strings.Contains(exit.Stack, "echo.go") {
		tb.Errorf("the stack does not show where:\n%s", exit.Stack)
	}
	assertSays(tb, err.Error(), "plugin "+binDir, "(process ", "crashed: crashed on demand (exit code 2)")
	if strings.Contains(err.Error(), "goroutine ") {
		tb.Errorf("the message holds the stack:\n%v", err)
	}
}

// TestCrash crashes the plugin while calls of all kinds wait for it.
func TestCrash(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave"), host.WithLogger(logger))
	client := echopb.NewEchoClient(p)
	ctx := testContext(t)

	// Open two streams with messages in flight, and a call that waits.
	chat, err := client.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := chat.Send(&echopb.Payload{Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if _, err := chat.Recv(); err != nil {
		t.Fatal(err)
	}
	download, err := client.Download(ctx, &echopb.DownloadRequest{Count: 1 << 30, Size: 1024})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := download.Recv(); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := client.Fail(ctx, fail("wait"), grpc.WaitForReady(true))
		waiting <- err
	}()
	book.await(t, "waiting")

	began := time.Now()
	_, err = client.Fail(ctx, fail("crash"))
	assertCrashed(t, err)
	assertCrashed(t, waitFor(t, "the call that waits", waiting))
	_, err = chat.Recv()
	assertCrashed(t, err)
	for err = nil; err == nil; {
		_, err = download.Recv() // messages that arrived before may still come
	}
	assertCrashed(t, err)

	// Check all calls after the end, and the handle itself.
	_, err = client.Unary(ctx, &echopb.Payload{})
	assertCrashed(t, err)
	_, err = client.Unary(ctx, &echopb.Payload{}, grpc.WaitForReady(true))
	assertCrashed(t, err)
	_, err = client.Chat(ctx, grpc.WaitForReady(true))
	assertCrashed(t, err)
	assertCrashed(t, p.Ping(ctx))
	waitFor(t, "Done", p.Done())
	if took := time.Since(began); took > prompt {
		t.Errorf("it took %v", took)
	}
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Panic != "crashed on demand" {
		t.Errorf("Err = %v, want the crash", p.Err())
	}
	if err := p.Close(); !errors.Is(err, p.Err()) {
		t.Errorf("Close = %v, want what Err returns", err)
	}

	r := book.await(t, "panic: crashed on demand")
	stack, _ := r.Attrs["stack"].(string)
	if r.Level != 8 || !strings.Contains(stack, "echo.go") {
		t.Errorf("the panic's record: %+v", r)
	}
}

// TestProcessEndsUnderCall ends the process in other ways.
func TestProcessEndsUnderCall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		end    func(p *host.Plugin) error // nil if the call ends the process
		how    string
		status host.ExitStatus
		says   string
	}{
		{name: "os.Exit", how: "exit", status: host.ExitStatus{Code: 7}, says: "ended (exit code 7)\n  its last lines on stderr:\n    leaving with code 7"},
		{name: "killed from outside", how: "hang", end: func(p *host.Plugin) error { return syscall.Kill(p.Info().PID, syscall.SIGKILL) }, status: host.ExitStatus{Signal: "killed"}, says: "ended (signal: killed)"},
		{name: "terminated from outside", how: "hang", end: func(p *host.Plugin) error { return syscall.Kill(p.Info().PID, syscall.SIGQUIT) }, status: host.ExitStatus{Code: 2}, says: "crashed: SIGQUIT: quit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, echoPlugin())
			if tt.end != nil {
				if err := tt.end(p); err != nil {
					t.Fatal(err)
				}
			}
			_, err := echopb.NewEchoClient(p).Fail(testContext(t), fail(tt.how))
			exit := asExit(t, err)
			if exit.Status != tt.status || exit.Step != "" {
				t.Errorf("%v, step %q; want %v by itself", exit.Status, exit.Step, tt.status)
			}
			assertSays(t, err.Error(), tt.says)
			waitFor(t, "Done", p.Done())
		})
	}
}

// TestProcessEndsUnasked checks that an orderly end is an error if the host did
// not ask for it.
func TestProcessEndsUnasked(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	if err := syscall.Kill(p.Info().PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "Done", p.Done())
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Status != (host.ExitStatus{}) {
		t.Fatalf("Err = %v, want an ExitError with exit code 0", p.Err())
	}
	assertSays(t, p.Err().Error(), "ended in good order, which this host had not asked for (exit code 0)")
}

// TestChildrenEndWithThePlugin ends a plugin whose own child would outlive it.
func TestChildrenEndWithThePlugin(t *testing.T) {
	t.Parallel()
	t.Run("in its group", func(t *testing.T) {
		t.Parallel()
		p := launch(t, command("misbehave"))
		client := echopb.NewEchoClient(p)
		if _, err := client.Fail(testContext(t), fail("child:sleep 1000")); err != nil {
			t.Fatal(err)
		}
		_, err := client.Fail(testContext(t), fail("crash"))
		assertCrashed(t, err)
		waitFor(t, "Done", p.Done()) // launch checks that the group is gone
	})
	t.Run("outside of its group", func(t *testing.T) {
		t.Parallel()
		logger, book := newJournal(t, 0)
		p := launch(t, command("misbehave"), host.WithLogger(logger))
		resp, err := echopb.NewEchoClient(p).Fail(testContext(t), fail("child:setsid sleep 1000"))
		if err != nil {
			t.Fatal(err)
		}
		pid := atoi(t, string(resp.GetData()))
		t.Cleanup(func() {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("the process that left the group: %v", err)
			}
		})
		awaitOwnGroup(t, pid)
		began := time.Now()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > prompt {
			t.Errorf("Close took %v", took)
		}
		r := book.await(t, "a process that left the plugin's group still holds its output, which is no longer read")
		if want := fmt.Sprintf("process %d (sleep)", pid); runtime.GOOS == "linux" && r.text("holder") != want {
			t.Errorf("it is held by %q, want %q", r.text("holder"), want)
		}
	})
}

// awaitOwnGroup waits until a process leads a group of its own, which setsid makes when
// it runs.
func awaitOwnGroup(tb testing.TB, pid int) {
	tb.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); ; <-poll.C {
		group, err := syscall.Getpgid(pid)
		if err == nil && group == pid {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("process %d is in group %d, %v", pid, group, err)
		}
	}
}

func TestCallsAfterClose(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	client := echopb.NewEchoClient(p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p.Err() != nil {
		t.Errorf("Err = %v, want nil", p.Err())
	}
	for _, opts := range [][]grpc.CallOption{nil, {grpc.WaitForReady(true)}} {
		_, err := client.Unary(testContext(t), &echopb.Payload{}, opts...)
		if status.Code(err) != codes.Unavailable || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want codes.Unavailable and net.ErrClosed", err)
		}
		assertSays(t, err.Error(), "the plugin was stopped by its host")
		_, err = client.Download(testContext(t), &echopb.DownloadRequest{}, opts...)
		if status.Code(err) != codes.Unavailable || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want codes.Unavailable and net.ErrClosed", err)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestCloseAmongCalls closes from many goroutines while others call: each call
// succeeds or ends with Unavailable.
func TestCloseAmongCalls(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	client := echopb.NewEchoClient(p)
	ctx := testContext(t)
	var group sync.WaitGroup
	first := make(chan struct{}, 8)
	for range 8 {
		group.Go(func() {
			for {
				_, err := client.Unary(ctx, &echopb.Payload{Data: []byte("x")})
				select {
				case first <- struct{}{}:
				default:
				}
				if err != nil {
					if status.Code(err) != codes.Unavailable {
						t.Errorf("call: %v", err)
					}
					return
				}
			}
		})
	}
	waitFor(t, "a call", first)
	for range 4 {
		group.Go(func() {
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), hang)
			defer cancel()
			if err := p.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
	group.Wait()
}
