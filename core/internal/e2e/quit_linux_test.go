package e2e_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// TestQuit checks that a plugin says where it hangs: its error has the stacks.
func TestQuit(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	ctx := testContext(t)
	inFlight := make(chan error, 1)
	go func() {
		_, err := echopb.NewEchoClient(p).Fail(ctx, fail("hang"))
		inFlight <- err
	}()
	if err := p.Quit(ctx); err != nil {
		t.Fatal(err)
	}
	exit := asExit(t, waitFor(t, "the call", inFlight))
	if exit.Panic != "SIGQUIT: quit" || !strings.Contains(exit.Stack, "goroutine ") {
		t.Errorf("panic %q, stack %q", exit.Panic, exit.Stack)
	}
	if want := "crashed: SIGQUIT: quit (exit code 2): its host made it print the stacks of its goroutines"; !strings.HasSuffix(exit.Error(), want) {
		t.Errorf("%v, want %s", exit, want)
	}
	if err := p.Quit(ctx); err != nil {
		t.Errorf("Quit after the end: %v", err)
	}
}

// TestQuitStopped checks that a plugin that is stopped goes on when it cannot print its
// stacks.
func TestQuitStopped(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	ctx := testContext(t)
	stopProcess(t, p.Info().PID)
	if err := p.Quit(ctx); err == nil {
		t.Fatal("a plugin that is stopped has printed its stacks")
	}
	if err := syscall.Kill(p.Info().PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := p.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// quitless is a runner whose processes cannot be told to print their stacks.
type quitless struct{ host.Runner }

type quitlessProcess struct{ host.Process }

func (q quitless) Start(ctx context.Context, cfg host.StartConfig) (host.Process, error) {
	p, err := q.Runner.Start(ctx, cfg)
	return quitlessProcess{p}, err
}

func TestQuitUnsupported(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin(), host.WithRunner(quitless{host.LocalRunner()}))
	if err := p.Quit(testContext(t)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
