//go:build unix

package e2e_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// A function of plugin.OnReady that fails ends the start, and the host's error says why.
func TestOnReadyFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		way  string
		says []string
	}{
		{"error", []string{"plugin.OnReady: no licence", "the process ended with exit code 1 before it was ready"}},
		{"panic", []string{"plugin.OnReady: panic: no licence", "the process ended with exit code 1 before it was ready"}},
		{"goexit", []string{"plugin.OnReady: it called runtime.Goexit"}},
		{"exit", []string{"the process ended with exit code 3 before it was ready"}},
		{"ok,error", []string{"plugin.OnReady: no licence"}},
	} {
		t.Run(tt.way, func(t *testing.T) {
			t.Parallel()
			err := startError(testContext(t), t, command("misbehave", "-ready", tt.way))
			if err.Phase != host.PhaseReady {
				t.Errorf("phase %q, want %q", err.Phase, host.PhaseReady)
			}
			assertSays(t, err.Error(), tt.says...)
		})
	}
}

// The start timeout bounds the functions too, and the error says what the host
// waited for.
func TestOnReadyHangs(t *testing.T) {
	t.Parallel()
	err := startError(testContext(t), t, command("misbehave", "-ready", "hang"), host.WithStartTimeout(2*time.Second))
	if err.Phase != host.PhaseReady || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("phase %q: %v", err.Phase, err)
	}
	assertSays(t, err.Error(), "host.WithStartTimeout", "plugin.OnReady have not returned")
}

// Each host that attaches to a debugged plugin makes the functions run.
func TestOnReadyWhenDebugged(t *testing.T) {
	t.Parallel()
	plugin := debug(t, command("misbehave", "-ready", "once"))
	defer plugin.stop(os.Interrupt)
	attach := func() error {
		p, err := host.Attach(testContext(t), plugin.info(), options(t)...)
		if err == nil {
			err = p.Close()
		}
		return err
	}
	if err := attach(); err != nil {
		t.Error(err)
	}
	err := attach()
	if err == nil {
		t.Fatal("the second host attached, and a function failed")
	}
	assertSays(t, err.Error(), "plugin.OnReady: this is the second time")
	if isClosed(plugin.exited) {
		t.Error("the plugin has ended")
	}
}
