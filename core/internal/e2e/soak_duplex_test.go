//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/ways"
)

// TestSoakTransports starts and ends plugins on every transport, in the middle
// of everything that they and their host can do with each other.
func TestSoakTransports(t *testing.T) {
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			soak(t, soakLength(300, 9), 3, bothDirections(over), streamsAndKill(over),
				failingStart(command("duplex-plugin"), over, host.WithCookie("PLUGIN_MAGIC_COOKIE", "another")))
		})
	}
}

// bothDirections is an ordinary life with nested calls.
func bothDirections(opts ...host.Option) cycle {
	return func(tb testing.TB, common []host.Option, _ *rand.Rand) {
		tb.Helper()
		p, err := startDuplex(tb, common, opts)
		if err != nil {
			tb.Error(err)
			return
		}
		if resp, err := duplexpb.NewDuplexClient(p).Descend(tb.Context(), &duplexpb.Descent{Depth: 9}); err != nil || resp.GetDepth() != 9 {
			tb.Errorf("call: got %v, %v", resp, err)
		}
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	}
}

// streamsAndKill kills a plugin in the middle of a nested call and of streams. Some of
// the streams are accepted.
func streamsAndKill(opts ...host.Option) cycle {
	return func(tb testing.TB, common []host.Option, rnd *rand.Rand) {
		tb.Helper()
		p, err := startDuplex(tb, common, opts)
		if err != nil {
			tb.Error(err)
			return
		}
		c := duplexpb.NewDuplexClient(p)
		const copied = 64 << 10
		var cutOff sync.WaitGroup
		run := func(what string, f func() error) {
			cutOff.Go(func() {
				if err := f(); err == nil {
					tb.Errorf("%s outlived the plugin", what)
				}
			})
		}
		run("a call that nests", func() error {
			_, err := c.Hold(tb.Context(), &duplexpb.Descent{Depth: 4})
			return err
		})
		run("a wait for the plugin's stream", func() error {
			_, err := p.AcceptStream(tb.Context(), "that nobody opens")
			return err
		})
		run("a wait for the host's half", func() error {
			_, err := c.Join(tb.Context(), &duplexpb.StreamOrder{Name: "that nobody accepts", Open: true})
			return err
		})
		run("a call that uses a stream", func() error {
			_, err := c.Join(tb.Context(), &duplexpb.StreamOrder{Name: "met", Bytes: copied})
			return err
		})
		conn, err := p.OpenStream(tb.Context(), "met")
		if err != nil {
			tb.Error(err)
			return
		}
		// The plugin ends its direction and then waits for ours to end.
		if _, err := duplex.Receive(conn, copied); err != nil {
			tb.Error(err)
		}
		select { // the moment is random
		case <-time.After(upTo(rnd, 5*time.Millisecond)):
		case <-p.Done():
		}
		if err := syscall.Kill(p.Info().PID, syscall.SIGKILL); err != nil {
			tb.Error(err)
		}
		cutOff.Wait()
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			tb.Error(err)
		}
		assertEnds(tb, p)
	}
}

func startDuplex(tb testing.TB, common, opts []host.Option) (*host.Plugin, error) {
	tb.Helper()
	var p *host.Plugin
	launched := make(chan struct{})
	h := &duplex.Handler{Other: func(context.Context) grpc.ClientConnInterface {
		<-launched
		return p
	}}
	p, err := host.Launch(tb.Context(), command("duplex-plugin"), slices.Concat(common, []host.Option{
		host.WithProtocols(duplexpb.DuplexProtocol),
		host.WithServices(duplexpb.ServeDuplex(h)),
	}, opts)...)
	close(launched)
	return p, err
}

// maxHeap is far more than two copying processes need, and far less than they
// copy.
const maxHeap = 64 << 20

// TestSoakNamedStreams copies a gibibyte each way, on streams that either side
// opens; in short, still more than any buffer holds.
func TestSoakNamedStreams(t *testing.T) {
	size := int64(soakLength(1<<30, 64<<20))
	for _, name := range ways.Names() {
		t.Run(name, func(t *testing.T) {
			over := host.WithTransports(ways.Named(name))
			p := launchDuplex(t, &duplex.Handler{}, over)
			for _, pluginOpens := range []bool{false, true} {
				size := size
				if pluginOpens { // only the first bytes pass through the handler
					size = min(size, 64<<20)
				}
				name := fmt.Sprintf("copy, opened by the plugin: %t", pluginOpens)
				meet := p.OpenStream
				if pluginOpens {
					meet = p.AcceptStream
				}
				reports := make(chan *duplexpb.StreamReport, 1)
				go func() {
					report, err := duplexpb.NewDuplexClient(p).Join(t.Context(), &duplexpb.StreamOrder{Name: name, Open: pluginOpens, Bytes: size})
					if err != nil {
						t.Errorf("%s: the plugin: %v", name, err)
					}
					reports <- report
				}()
				conn, err := meet(testContext(t), name)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				ours, err := duplex.Exchange(conn, size)
				if err := errors.Join(err, conn.Close()); err != nil {
					t.Errorf("%s: the host: %v", name, err)
				}
				for side, report := range map[string]*duplexpb.StreamReport{"host": ours, "plugin": <-reports} {
					if report.GetReceived() != size {
						t.Errorf("%s: the %s received %d bytes of %d", name, side, report.GetReceived(), size)
					}
					if report.GetHeap() > maxHeap {
						t.Errorf("%s: the %s had a heap of %d MiB", name, side, report.GetHeap()>>20)
					}
				}
			}
		})
	}
}
