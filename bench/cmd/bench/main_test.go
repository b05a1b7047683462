package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/bench/internal/measure"
	"github.com/plugwire/plugwire/bench/internal/peers"
)

// programs is the directory of the command and of the plugins.
var programs string

// TestMain builds them, before the clock of the tests starts.
func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	programs, err = os.MkdirTemp("", "bench-test-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(programs)) }()
	if err := build(context.Background(), programs); err != nil {
		return 1, err
	}
	cmd := exec.Command("go", "build", "-o", command(), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w\n%s", err, out)
	}
	return m.Run(), nil
}

func command() string {
	path := filepath.Join(programs, "bench-command")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	return path
}

// bench runs the command, and returns the keys that it prints for each peer.
func bench(t *testing.T, args ...string) map[string][]string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), command(), append(args, "-json", "-rounds=1", "-slice=1ms", "-programs="+programs)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	found := make(map[string][]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var line struct {
			Peer    string
			Measure string
			Median  float64
		}
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Median < 0 {
			t.Errorf("%s: %s is %g", line.Peer, line.Measure, line.Median)
		}
		found[line.Peer] = append(found[line.Peer], line.Measure)
	}
	return found
}

// TestEachPeer runs every peer once: a call, a callback and a stream.
func TestEachPeer(t *testing.T) {
	t.Parallel()
	lacks := map[string]string{
		peers.GRPC:  measure.CallbackP50,
		peers.TTRPC: measure.CallbackP50,
		peers.DRPC:  measure.CallbackP50,
		peers.ARPC:  measure.BidiP50,
	}
	found := bench(t, "-parts=^(unary|callback|bidi)$")
	for _, p := range peers.All() {
		keys := strings.Join(found[p.Name], " ")
		for _, key := range []string{measure.UnaryP50, measure.CallbackP50, measure.BidiP50} {
			if got, want := strings.Contains(keys, key), lacks[p.Name] != key; got != want {
				t.Errorf("%s has %s: %t, want %t", p.Name, key, got, want)
			}
		}
	}
}

// TestEachPart runs every part once, except that under loss, which is not possible
// everywhere.
func TestEachPart(t *testing.T) {
	t.Parallel()
	name := peers.Plugwire(peers.Wires()[0], "unix")
	found := " " + strings.Join(bench(t, "-only=^"+name+"$")[name], " ") + " "
	for _, f := range measure.Figures {
		switch {
		case f.Key == measure.LossP999 || f.Key == measure.LossRate:
		case f.Key == measure.Memory && runtime.GOOS != "linux":
		case !strings.Contains(found, " "+f.Key+" "):
			t.Errorf("there is no %s", f.Key)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context //nolint:containedctx // an argument of the call
		args []string
		code int
		text string // in what it prints
	}{
		{"help", t.Context(), []string{"-h"}, exitOK, "usage: go run ./bench/cmd/bench [flags]"},
		{"list", t.Context(), []string{"-list"}, exitOK, "grpc-go"},
		{"an unknown flag", t.Context(), []string{"-pigeon"}, exitUsage, "-pigeon"},
		{"an argument", t.Context(), []string{"pigeon"}, exitUsage, "an argument, -rounds or -slice is not valid"},
		{"no rounds", t.Context(), []string{"-rounds=0"}, exitUsage, "-rounds"},
		{"a bad pattern", t.Context(), []string{"-only=("}, exitUsage, "missing closing )"},
		{"no peer", t.Context(), []string{"-only=pigeon"}, exitFailed, "no peer or no part has a name that matches"},
		{"interrupted", cancelled, []string{"-quick"}, exitInterrupted, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			code := run(tt.ctx, tt.args, &out, &out)
			if code != tt.code || !strings.Contains(out.String(), tt.text) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.text, &out)
			}
		})
	}
}

// TestFailedPart checks that a part that fails is named, and that the others go on.
func TestFailedPart(t *testing.T) {
	t.Parallel()
	some := t.TempDir()
	raw := peers.Find(peers.Raw)
	if err := os.Symlink(raw.Program(programs), raw.Program(some)); err != nil {
		t.Skipf("skipped, as there are no symbolic links: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), command(), "-only=^(raw|drpc)$", "-parts=^unary$", "-rounds=1", "-slice=1ms", "-programs="+some)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%v, want exit code %d", err, exitFailed)
	}
	for _, want := range []string{"drpc, unary, round 1:", "unary call of 64 bytes"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	if got := remaining(time.Now(), 0, 10); got != "" {
		t.Errorf("%q at the start, want nothing", got)
	}
	if got := remaining(time.Now().Add(-10*time.Second), 5, 10); got != "about 10s left" {
		t.Errorf("%q, want about 10s left", got)
	}
}
