package e2e_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestStoppedPlugin stops the plugin's process: errors of calls that time out say so,
// and so does the error of Close. When the process continues, so do calls.
func TestStoppedPlugin(t *testing.T) {
	t.Parallel()
	const says = "is stopped (T), by a signal such as SIGSTOP"
	p := launch(t, echoPlugin())
	client := echopb.NewEchoClient(p)
	stopProcess(t, p.Info().PID)
	for _, wait := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, err := client.Unary(ctx, payload("hello"))
			return err
		},
		func(ctx context.Context) error {
			stream, err := client.Chat(ctx)
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		p.Ping,
	} {
		ctx, cancel := context.WithTimeout(testContext(t), stoppedTimeout)
		err := wait(ctx)
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%v, want %v", err, codes.DeadlineExceeded)
		}
		assertSays(t, err.Error(), "context deadline exceeded: the plugin's process ", says)
	}
	ctx, cancel := context.WithTimeout(testContext(t), stoppedTimeout)
	defer cancel()
	_, err := p.OpenStream(ctx, "name")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a named stream: %v", err)
	}
	assertSays(t, err.Error(), says)
	if err := syscall.Kill(p.Info().PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Unary(testContext(t), payload("hello")); err != nil {
		t.Error(err)
	}
	short, cancelShort := context.WithTimeout(testContext(t), stoppedTimeout)
	defer cancelShort()
	if _, err := client.Fail(short, fail("hang")); err == nil || status.Convert(err).Message() != "context deadline exceeded" {
		t.Errorf("a plugin that is not stopped: %v", err)
	}

	stopProcess(t, p.Info().PID)
	brief, cancelBrief := context.WithTimeout(testContext(t), stoppedTimeout)
	defer cancelBrief()
	err = p.Shutdown(brief)
	if exit := asExitError(t, err); exit.Step != host.StepKill {
		t.Errorf("step %q, want %q", exit.Step, host.StepKill)
	}
	assertSays(t, err.Error(), says)
}

// stoppedTimeout is the timeout of calls that a stopped plugin does not answer.
const stoppedTimeout = 100 * time.Millisecond

func asExitError(t *testing.T, err error) *host.ExitError {
	t.Helper()
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v is no *host.ExitError", err)
	}
	return exit
}

// TestStoppedAtTheStart launches a process that stops itself before it answers.
func TestStoppedAtTheStart(t *testing.T) {
	t.Parallel()
	e := startError(testContext(t), t, shell("kill -STOP $$"), host.WithStartTimeout(time.Second))
	if !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", e)
	}
	assertSays(t, e.Error(), "is stopped (T)")
}
