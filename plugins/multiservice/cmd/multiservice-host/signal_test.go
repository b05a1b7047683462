package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// patience bounds a wait for what should happen at once.
const patience = 20 * time.Second

// A signal ends the command also while it waits for an input that does not come.
func TestSignalWhileInputIsAwaited(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send to a process")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, clitest.Path("multiservice-host"), "-dir", t.TempDir(), "-json", "import", "-as", "ann", "-")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v; stderr: %s", err, stderr.String())
	}
	var c hostcli.Connection
	if err := json.Unmarshal([]byte(first), &c); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	want := `{"type":"error","message":"interrupt signal received"}` + "\n"
	if last, err := lines.ReadString('\n'); last != want {
		t.Errorf("last object %q, %v, want %q", last, err, want)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1; stderr: %s", err, stderr.String())
	}
	if err := clitest.Exited(c.PID); err != nil {
		t.Error(err)
	}
}
