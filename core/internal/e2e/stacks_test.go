//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/plugintest"
	"github.com/plugwire/plugwire/transport/unix"
)

// soon is a deadline for a handler that never returns.
const soon = 50 * time.Millisecond

// TestStuckCall checks that the error of a call says where the handler is that does not
// look at its context, and so does the log of the shutdown that has to cut the handler off.
func TestStuckCall(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	p := launch(t, echoPlugin(), host.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	err := untilStuck(t, func(ctx context.Context) error {
		_, err := echopb.NewEchoClient(p).Fail(ctx, fail("hang for good"))
		return err
	})
	checkStuck(t, err, echopb.Echo_Fail_FullMethodName, "echo.Handler.Fail")
	if _, err := echopb.NewEchoClient(p).Unary(testContext(t), &echopb.Payload{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
	shutdownCtx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	if err := p.Shutdown(shutdownCtx); err == nil {
		t.Error("a plugin whose handler hangs has stopped in good order")
	}
	if text := log.String(); !strings.Contains(text, "calls were cut off by the shutdown") || !strings.Contains(text, " in a handler of "+echopb.Echo_Fail_FullMethodName) {
		t.Errorf("the log is\n%s", text)
	}
}

// untilStuck makes calls that end by their deadlines, until one has stacks, and returns its
// error. On a busy machine a deadline may pass before the handler runs, and the stacks may
// come too late. Later calls wait for as long as a host asks for no more stacks: each leaves a
// handler, and with hundreds of them the stacks would always come too late.
func untilStuck(t *testing.T, call func(context.Context) error) error {
	t.Helper()
	wait := soon
	for end := time.Now().Add(hang); ; wait = time.Second {
		ctx, cancel := context.WithTimeout(testContext(t), wait)
		err := call(ctx)
		cancel()
		if _, ok := errors.AsType[*host.StuckError](err); ok || time.Now().After(end) || status.Code(err) != codes.DeadlineExceeded {
			return err
		}
	}
}

func checkStuck(t *testing.T, err error, method, place string) {
	t.Helper()
	stuck, ok := errors.AsType[*host.StuckError](err)
	if !ok {
		t.Fatalf("got %v, want a StuckError", err)
	}
	if stuck.Method != method || !strings.Contains(stuck.Stacks, place) || !strings.Contains(stuck.Stacks, ".go:") {
		t.Errorf("the stacks of %s are\n%s", stuck.Method, stuck.Stacks)
	}
	if status.Code(err) != codes.DeadlineExceeded || !errors.Is(err, stuck.Err) {
		t.Errorf("the code is %v, the error inside %v", status.Code(err), stuck.Err)
	}
	if text := err.Error(); !strings.Contains(text, "and its handler goes on at ") || !strings.Contains(text, place) {
		t.Errorf("the error says %q, want %s", text, place)
	}
}

// blocking is a handler that goes on until it is released.
type blocking struct {
	echo.Handler
	release chan struct{}
}

func (b blocking) Unary(context.Context, *echopb.Payload) (*echopb.Payload, error) {
	<-b.release
	return &echopb.Payload{}, nil
}

func (b blocking) Download(*echopb.DownloadRequest, grpc.ServerStreamingServer[echopb.Payload]) error {
	<-b.release
	return nil
}

// TestStuckStream checks the same for a stream.
func TestStuckStream(t *testing.T) {
	t.Parallel()
	client := startBlocking(t)
	err := untilStuck(t, func(ctx context.Context) error {
		stream, err := client.Download(ctx, &echopb.DownloadRequest{})
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	})
	checkStuck(t, err, echopb.Echo_Download_FullMethodName, "blocking.Download")
}

// startBlocking starts a plugin whose handlers go on until the test ends.
func startBlocking(t *testing.T, opts ...plugin.Option) echopb.EchoClient {
	t.Helper()
	b := blocking{release: make(chan struct{})}
	p := plugintest.StartWith(t, echopb.ServeEcho(b), unix.New(), opts)
	t.Cleanup(func() { close(b.release) }) // runs before the plugin is stopped
	return echopb.NewEchoClient(p)
}

// TestStacksAreEdited checks that a plugin decides what its host sees.
func TestStacksAreEdited(t *testing.T) {
	t.Parallel()
	client := startBlocking(t, plugin.WithStacks(func(string) string { return "main.secret+0x1\x1b[31m" }))
	err := untilStuck(t, func(ctx context.Context) error {
		_, err := client.Unary(ctx, &echopb.Payload{})
		return err
	})
	if stuck, ok := errors.AsType[*host.StuckError](err); !ok || stuck.Stacks != `"main.secret+0x1\x1b[31m"` {
		t.Errorf("got %+v", err)
	}
}

// TestStacksAreWithheld checks that the error is as without stacks if the plugin tells none.
func TestStacksAreWithheld(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(string) string{
		"nothing": func(string) string { return "" },
		"never":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := startBlocking(t, plugin.WithStacks(edit))
			ctx, cancel := context.WithTimeout(testContext(t), soon)
			defer cancel()
			_, err := client.Unary(ctx, &echopb.Payload{})
			if _, ok := errors.AsType[*host.StuckError](err); ok || status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		})
	}
}
