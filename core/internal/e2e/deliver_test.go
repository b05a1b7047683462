//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
	"github.com/plugwire/plugwire/core/transport"
)

// TestShutdownDelivers stops a plugin that has just sent the end of a long
// answer. All of it arrives, even over a transport that delivers from the
// plugin's own process and not from the kernel.
func TestShutdownDelivers(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launch(t, command("versions-plugin", ways.Names()...), over)
			const count, size = 40, 256 << 10
			stream, err := echopb.NewEchoClient(p).Download(testContext(t), &echopb.DownloadRequest{Count: count, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() { closed <- p.Close() }()
			got := 1
			for ; ; got++ {
				chunk, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || len(chunk.GetData()) != size {
					t.Fatalf("chunk %d: %d bytes, %v", got, len(chunk.GetData()), err)
				}
			}
			if got != count {
				t.Errorf("%d of %d chunks arrived", got, count)
			}
			if err := waitFor(t, "Close", closed); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// TestStreamOutlivesShutdown reads a stream's data after the plugin that wrote
// it was stopped normally.
func TestStreamOutlivesShutdown(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			p := launchDuplex(t, &duplex.Handler{}, host.WithTransports(ways.Named(name)))
			const size = 100 << 10
			joined := make(chan error, 1)
			go func() {
				_, err := duplexpb.NewDuplexClient(p).Join(t.Context(), &duplexpb.StreamOrder{Name: "last", Bytes: size})
				joined <- err
			}()
			conn, err := p.OpenStream(testContext(t), "last")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := waitFor(t, "the plugin's half", joined); err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() { closed <- p.Close() }()
			report, err := duplex.Receive(conn, size)
			if err != nil || report.GetReceived() != size {
				t.Errorf("%d of %d bytes, %v", report.GetReceived(), size, err)
			}
			if err := errors.Join(conn.Close(), waitFor(t, "Close", closed)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStreamsAfterTheEnd checks that opening a stream after the plugin's end
// returns how the plugin ended.
func TestStreamsAfterTheEnd(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			for end, tt := range map[string]struct {
				end  func(p *host.Plugin) error
				want string
			}{
				"closed": {func(p *host.Plugin) error { return p.Close() }, "was stopped by its host"},
				"killed": {func(p *host.Plugin) error { return syscall.Kill(p.Info().PID, syscall.SIGKILL) }, "signal: killed"},
			} {
				p := launchDuplex(t, &duplex.Handler{}, host.WithTransports(ways.Named(name)))
				if err := tt.end(p); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "the end", p.Done())
				_, err := p.OpenStream(testContext(t), "late")
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v", end, err)
				}
			}
		})
	}
}

// unready is a transport that cannot prepare a start.
type unready struct{ transport.Preparer }

func (unready) Name() string    { return "unready" }
func (unready) Versions() []int { return []int{1} }

func (unready) Prepare(context.Context, transport.PrepareConfig) (*transport.PreparedStart, error) {
	return nil, errors.New("not today")
}

// TestPrepareFails checks that the start continues without a transport that
// cannot prepare it.
func TestPrepareFails(t *testing.T) {
	p := launch(t, command("versions-plugin", "unix"), host.WithTransports(unready{}, ways.Named("unix")))
	if got := p.Info(); got.Transport.String() != "unix/1" || got.Skipped != "unready: not today" {
		t.Errorf("%+v", got)
	}
	_, err := host.Launch(testContext(t), echoPlugin(), options(t, host.WithTransports(unready{}))...)
	if err == nil || !strings.Contains(err.Error(), "no transport could be prepared: unready: not today") {
		t.Errorf("alone: %v", err)
	}
}
