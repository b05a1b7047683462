//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// unhurried is how soon an operation must end that has nothing to wait for: before
// the grace, the shortest limit that would otherwise end it.
const unhurried = host.DefaultGrace

// TestSilentConnectionDoesNotDelayClose closes a plugin while a connection to
// its socket never sends anything.
func TestSilentConnectionDoesNotDelayClose(t *testing.T) {
	t.Parallel()
	var address string
	trace := &host.Trace{Dial: func(e host.DialEvent) { address = e.Address }}
	p := launch(t, echoPlugin(), host.WithTrace(trace))
	conn, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// So many round trips take longer than an accept.
	for range 100 {
		if err := p.Ping(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	took, err := shutdown(p, hang)
	if err != nil || took > prompt {
		t.Errorf("Shutdown: %v after %v", err, took)
	}
}

// stuckWriter does not return from Write until it is released.
type stuckWriter struct {
	entered, release chan struct{}
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	select {
	case w.entered <- struct{}{}:
	default:
	}
	<-w.release
	return len(b), nil
}

// TestStuckWriter uses a writer that never returns: the host still reports how
// the plugin ended.
func TestStuckWriter(t *testing.T) {
	t.Parallel()
	w := &stuckWriter{entered: make(chan struct{}, 1), release: make(chan struct{})}
	t.Cleanup(func() { close(w.release) })
	// Its output is read and logged when the writer returns: after the test.
	logger := slog.New(slog.DiscardHandler)
	p := launch(t, echoPlugin(), host.WithStdout(w), host.WithLogger(logger))
	client := echopb.NewEchoClient(p)
	if _, err := client.Fail(testContext(t), fail("print")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the writer", w.entered)
	began := time.Now()
	_, err := client.Fail(testContext(t), fail("exit"))
	exit := asExit(t, err)
	if exit.Status != (host.ExitStatus{Code: 7}) {
		t.Errorf("%v, want exit code 7", exit.Status)
	}
	assertSays(t, err.Error(), "host.WithStdout")
	waitFor(t, "Done", p.Done())
	if err := p.Close(); !errors.Is(err, p.Err()) {
		t.Errorf("Close = %v, want what Err returns", err)
	}
	if took := time.Since(began); took > prompt {
		t.Errorf("it took %v", took)
	}
}

// TestTerminatedPluginRunsItsHooks sends SIGTERM to a plugin alone, with a call
// that outlives the draining: the shutdown functions get the rest of the time,
// although the connection has ended. It waits for 3/4 of the default grace.
func TestTerminatedPluginRunsItsHooks(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave", "-hooks", "slow"), host.WithLogger(logger))
	called := make(chan error, 1)
	go func() {
		_, err := echopb.NewEchoClient(p).Fail(context.Background(), fail("wait"))
		called <- err
	}()
	book.await(t, "waiting")
	if err := syscall.Kill(p.Info().PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "Done", p.Done())
	if err := waitFor(t, "the call", called); status.Code(err) != codes.Unavailable {
		t.Errorf("the call ended with %v, want %v", err, codes.Unavailable)
	}
	if _, ok := book.find("shutdown function is done"); !ok {
		t.Error("the shutdown function was cut off")
	}
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Status != (host.ExitStatus{}) || exit.Step != "" {
		t.Errorf("Err = %v, want an ExitError with exit code 0 that nobody asked for", p.Err())
	}
}

// TestCloseAfterKill closes a plugin that another process has just killed:
// Close reports that.
func TestCloseAfterKill(t *testing.T) {
	t.Parallel()
	p := launch(t, echoPlugin())
	if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := p.Close()
	if err == nil {
		t.Fatal("Close = nil for a plugin that was killed")
	}
	assertSays(t, err.Error(), "(signal: killed)")
	if strings.Contains(err.Error(), "stopped when asked") {
		t.Errorf("a plugin that was killed from outside: %v", err)
	}
}

// TestSlowReader reads a stream's last answers long after its handler has
// returned: a shutdown does not cut them off.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	const count = 20
	p := launch(t, echoPlugin())
	stream, err := echopb.NewEchoClient(p).Download(testContext(t), &echopb.DownloadRequest{Count: count, Size: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	pace := time.NewTicker(40 * time.Millisecond)
	defer pace.Stop()
	got := 1
	for ; ; got++ {
		<-pace.C
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if got != count || !errors.Is(err, io.EOF) {
		t.Errorf("%d of %d, then %v", got, count, err)
	}
	if err := waitFor(t, "Close", closed); err != nil {
		t.Error(err)
	}
}

// answering returns a script that answers with an address and goes on with then.
func answering(address, then string) string {
	return echoed + `echo "1|1|unix|` + address + `|grpc|||instance=$i|transport=unix/1|session=direct|wire=h2|security=` + handshake.SecurityPeerCred + `"; ` + then
}

// TestAnswersAndExits checks that the error reports the end of the process,
// which says more than the missing socket.
func TestAnswersAndExits(t *testing.T) {
	t.Parallel()
	script := answering("/no/such/socket", "sleep 0.1; echo 'the configuration is broken' >&2; exit 3")
	e := startError(testContext(t), t, shell(script))
	if e.Phase != host.PhaseConnect || exitText(e) != "exit code 3" {
		t.Errorf("phase %s, exit %q; want %s and exit code 3", e.Phase, exitText(e), host.PhaseConnect)
	}
	assertSays(t, e.Error(), "exit code 3", "the configuration is broken")
}
