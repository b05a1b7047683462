//go:build linux

package e2e_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

func terminate(t *testing.T, p *host.Plugin) {
	t.Helper()
	if err := syscall.Kill(-p.Info().PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// TestSIGTERMLeftToTheHost sends SIGTERM, with a call in flight, to a plugin that
// leaves the signal to its host: the call continues, others begin, and the plugin stops
// when the host asks it. It makes no difference whether the host is ours or on
// go-plugin.
func TestSIGTERMLeftToTheHost(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ours", "foreign"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := command("misbehave", "-ignores-sigterm")
			if name == "foreign" {
				cmd = foreign(cmd)
			}
			p := launch(t, cmd)
			client := echopb.NewEchoClient(p)
			ctx, cancel := context.WithCancel(testContext(t))
			chat, err := client.Chat(ctx)
			if err != nil {
				t.Fatal(err)
			}
			say := func() {
				t.Helper()
				if err := chat.Send(payload("hello")); err != nil {
					t.Fatal(err)
				}
				if _, err := chat.Recv(); err != nil {
					t.Fatal(err)
				}
			}
			say()
			for range 3 {
				terminate(t, p)
				for range 50 {
					if _, err := client.Unary(testContext(t), payload("hello")); err != nil {
						t.Fatalf("a call after SIGTERM: %v", err)
					}
				}
				say()
			}
			cancel()
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// TestSIGTERMDuringTheStop sends SIGTERM when the host has just asked such a plugin to
// stop, like a service manager: the stop is orderly.
func TestSIGTERMDuringTheStop(t *testing.T) {
	t.Parallel()
	logger, book := newJournal(t, 0)
	p := launch(t, command("misbehave", "-ignores-sigterm", "-hooks", "slow"), host.WithLogger(logger))
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	book.await(t, "shutdown function")
	terminate(t, p)
	if err := waitFor(t, "Close", closed); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, ok := book.find("shutdown function is done"); !ok {
		t.Error("the shutdown function was cut off")
	}
}

// TestSIGTERMWithoutALifeline checks a plugin under go-plugin, which would outlive its
// host: SIGTERM still stops it.
func TestSIGTERMWithoutALifeline(t *testing.T) {
	t.Parallel()
	p := launch(t, foreign(command("misbehave", "-ignores-sigterm", "-outlives")))
	terminate(t, p)
	waitFor(t, "Done", p.Done())
	var exit *host.ExitError
	if !errors.As(p.Err(), &exit) || exit.Status != (host.ExitStatus{}) || exit.Step != "" {
		t.Errorf("Err = %v, want an orderly end that nobody asked for", p.Err())
	}
}
