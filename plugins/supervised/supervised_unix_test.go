//go:build unix

package supervised_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The handle logs that it is closed when nothing of its plugins is left.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "supervised-host"), "-v", "-duration", "1h", "-callers", "1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	var log strings.Builder
	interrupted := false
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if !interrupted && strings.Contains(lines.Text(), "ready") {
			interrupted = true
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(log.String(), "closed") {
		t.Errorf("exit code %d, %v, log:\n%s", code, err, log.String())
	}
}
