//go:build linux

package e2e_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
)

// TestSoakStoppedAtConnect stops the plugin's process for longer than any
// limit on connections while its host connects. Calls back work after that.
func TestSoakStoppedAtConnect(t *testing.T) {
	if os.Getenv("PLUGWIRE_SOAK") != "full" {
		t.Skip("skipped, as it takes 11 s: PLUGWIRE_SOAK=full has it")
	}
	t.Parallel()
	var pid int
	stop := &host.Trace{
		ProcessStarted: func(e host.ProcessStartedEvent) { pid = atoi(t, e.ID) },
		Dial: func(host.DialEvent) {
			stopProcess(t, pid)
			time.AfterFunc(11*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
		},
	}
	p := launchDuplex(t, &duplex.Handler{}, host.WithTrace(stop))
	if resp, err := duplexpb.NewDuplexClient(p).Descend(testContext(t), &duplexpb.Descent{Depth: 2}); err != nil || resp.GetDepth() != 2 {
		t.Errorf("%v, %v", resp, err)
	}
}
