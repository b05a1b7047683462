package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
)

// TestAttachLeavesNoConnections checks that the end of an attached host closes
// all its connections, at the plugin's end too.
func TestAttachLeavesNoConnections(t *testing.T) {
	t.Parallel()
	sockets := func(pid int) int {
		open, err := descriptors(pid)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, name := range open {
			if strings.HasPrefix(name, "socket:") {
				n++
			}
		}
		return n
	}
	goPlugin, goPluginInfo := runningOnGoPlugin(t, true, 0)
	own := debug(t, echoPlugin())
	for name, try := range map[string]func() (*byHand, func()){
		"go-plugin": func() (*byHand, func()) { return goPlugin, func() { _ = attach(t, goPluginInfo).Close() } },
		"Plugwire":  func() (*byHand, func()) { return own, func() { _ = attach(t, own.info()).Close() } },
	} {
		b, attachAndClose := try()
		before := sockets(b.cmd.Process.Pid)
		for range 5 {
			attachAndClose()
		}
		eventually(t, hang, func() string {
			if now := sockets(b.cmd.Process.Pid); now > before {
				return fmt.Sprintf("%s: %d sockets, before there were %d", name, now, before)
			}
			return ""
		})
	}
}

// TestAttachProves checks that only the plugin's process gets signals. The plugin
// is stopped, so that asking it does not help.
func TestAttachProves(t *testing.T) {
	t.Parallel()
	stranger := bystander(t)
	type startFunc func(t *testing.T) (*byHand, handshake.AttachInfo)
	own := func(change func(*handshake.AttachInfo)) startFunc {
		return func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			b := debug(t, command("versions-plugin", "unix"))
			info := mortal(b.info())
			change(&info)
			// The plugin is killed before it can remove its files.
			t.Cleanup(func() { _ = os.Remove(info.Address) })
			return b, info
		}
	}
	for _, tt := range []struct {
		name   string
		start  startFunc
		proven bool
	}{
		{"its own start", own(func(*handshake.AttachInfo) {}), true},
		{"another start", own(func(info *handshake.AttachInfo) { info.Started = "1" + info.Started }), false},
		{"another's number", own(func(info *handshake.AttachInfo) { info.PID = stranger.cmd.Process.Pid }), false},
		{"nobody's number", own(func(info *handshake.AttachInfo) { info.PID = 1 << 30 }), false},
		{"no number", own(func(info *handshake.AttachInfo) { info.PID = 0 }), false},
		{"go-plugin's socket", func(t *testing.T) (*byHand, handshake.AttachInfo) { t.Helper(); return runningOnGoPlugin(t, false, 0) }, true},
		{"go-plugin with another's number", func(t *testing.T) (*byHand, handshake.AttachInfo) {
			t.Helper()
			return runningOnGoPlugin(t, false, stranger.cmd.Process.Pid)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, info := tt.start(t)
			var taken steps
			p := attach(t, info, taken.trace())
			assertEcho(t, p)
			stopProcess(t, b.cmd.Process.Pid)
			_, err := shutdown(p, 200*time.Millisecond)
			exit, ok := errors.AsType[*host.ExitError](err)
			if !ok || !exit.Status.Unknown || !isClosed(p.Done()) {
				t.Fatalf("Shutdown: %v, want an ExitError", err)
			}
			if tt.proven {
				waitFor(t, "the end of the plugin", b.exited)
				taken.assert(t, host.StepAsk, host.StepTerminate, host.StepKill)
				assertSays(t, err.Error(), "was killed (exit status unknown)")
			} else {
				taken.assert(t, host.StepAsk)
				assertSays(t, err.Error(), "was asked to stop", "nothing proves", "the host sent no signal")
				b.assertLives("a process that is not proven to be the plugin")
			}
			stranger.assertLives("a stranger")
		})
	}
}
