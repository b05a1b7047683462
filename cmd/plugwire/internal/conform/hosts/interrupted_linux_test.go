package hosts_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/hosts"
)

// TestInterrupted interrupts a check whose host and plugin wait for each other. No process is
// left.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	ended := make(chan error, 1)
	go func() {
		_, err := runner(t, hosts.Suite(), conform.Full, "^protocol-15/start$", hostArg, "-defect", "waits").Run(ctx)
		ended <- err
	}()
	await(t, func() bool { return len(processesOf(t, dir)) > 0 }) // that of the run on which the rule builds, or its own
	cancel(interrupted)
	if err := <-ended; !errors.Is(err, interrupted) {
		t.Errorf("the run ended with %v", err)
	}
	await(t, func() bool { return len(processesOf(t, dir)) == 0 })
}

// hang is how long the test waits for what takes milliseconds.
const hang = time.Minute

func await(t *testing.T, done func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(hang); !done(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatal("it takes too long")
		}
	}
}

// processesOf returns the processes whose program is in a directory: probes.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, dir) {
			found = append(found, program)
		}
	}
	return found
}
