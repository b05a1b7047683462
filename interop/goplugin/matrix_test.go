//go:build unix

package goplugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/interop/peer"
)

// hang is how long the checks of one cell may take. They take much less: each
// wait has a bound of its own.
const hang = 2 * time.Minute

// refusal is how long a refused start may take. It is less than any timeout of a
// start: go-plugin's hosts have 15 s here, ours the 20 s of a check.
const refusal = 14 * time.Second

// A pair is a host and a plugin, each a release or plugwire.
type pair struct{ host, plugin string }

func (p pair) String() string { return p.host + " runs " + p.plugin }

// pairs are the tested pairs: each release with both of ours both ways, and with
// itself, and the oldest with the newest. The pairs without ours show that
// go-plugin itself passes the checks.
func pairs() []pair {
	var all []pair
	for _, release := range releases {
		all = append(all, pair{release, plugwire})
	}
	for _, release := range releases {
		all = append(all, pair{plugwire, release})
	}
	for _, release := range releases {
		all = append(all, pair{release, release})
	}
	for _, release := range releases {
		all = append(all, pair{release, compat}, pair{compat, release})
	}
	all = append(all, pair{compat, compat}, pair{plugwire, compat}, pair{compat, plugwire})
	oldest, newest := releases[0], releases[len(releases)-1]
	return append(all, pair{oldest, newest}, pair{newest, oldest})
}

// A mode is what the test asks the host for.
type mode struct {
	name           string
	mutualTLS, mux bool
}

var modes = []mode{
	{name: "plain"},
	{name: "AutoMTLS", mutualTLS: true},
	{name: "multiplexed", mux: true},
	{name: "multiplexed AutoMTLS", mutualTLS: true, mux: true},
}

// A cell is one run of the checks.
type cell struct {
	pair
	mode
}

// TestMatrix runs every pair in every mode and compares the results with the
// rules.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, p := range pairs() {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			for _, m := range modes {
				t.Run(m.name, func(t *testing.T) {
					t.Parallel()
					c := cell{p, m}
					summary.add(c, c.test(t))
				})
			}
		})
	}
}

// test runs the checks and returns a summary of their outcome.
func (c cell) test(t *testing.T) string {
	t.Helper()
	rules := c.rules()
	var checks []string
	for _, check := range peer.Checks {
		if rules[check].outcome != omitted {
			checks = append(checks, check)
		}
	}
	if len(checks) == 0 {
		return rules[peer.Start].short
	}
	results, stderr := c.run(t, checks)
	ok, other := 0, make(map[string]bool)
	for _, result := range results {
		rule := rules[result.Check]
		want := rule.status()
		if result.Status != want || !strings.Contains(result.Detail, rule.says) {
			t.Errorf("%s: %s after %d ms: %s\nwant %s", result.Check, result.Status, result.Milliseconds, result.Detail, rule)
		}
		if want != peer.OK && result.Check == peer.Start && result.Milliseconds > refusal.Milliseconds() {
			t.Errorf("%s: refused after %d ms, which is a timeout", result.Check, result.Milliseconds)
		}
		if result.Status == peer.OK {
			ok++
		} else {
			other[rule.short] = true
		}
	}
	if got, want := names(results), due(checks, rules); !slices.Equal(got, want) {
		t.Errorf("the checks that were made are %q, want %q", got, want)
	}
	if t.Failed() {
		t.Logf("standard error of the host:\n%s", stderr)
		return "FAILED"
	}
	return describe(ok, other)
}

// due returns the checks to make: none after a refused start.
func due(checks []string, rules map[string]rule) []string {
	if rules[peer.Start].status() != peer.OK {
		return checks[:1]
	}
	return checks
}

func names(results []peer.Result) []string {
	var all []string
	for _, result := range results {
		all = append(all, result.Check)
	}
	return all
}

// These are the versions of the protocol on each side, and the chosen one.
const (
	hostVersions   = "1,2,4"
	pluginVersions = "1,2,3"
	wantVersion    = "2"
)

// run runs the host, in a directory for temporary files of its own.
func (c cell) run(t *testing.T, checks []string) (results []peer.Result, stderr string) {
	t.Helper()
	args := []string{"host", "-versions", hostVersions, "-want", wantVersion, "-checks", strings.Join(checks, ",")}
	if c.mutualTLS {
		args = append(args, "-mtls")
	}
	if c.mux {
		args = append(args, "-mux")
	}
	args = append(args, binary(c.plugin), "plugin", "-versions", pluginVersions)
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(c.host), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	// A plugin on go-plugin is in the group of its host, and would outlive it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	results, parseErr := parse(out)
	failed := slices.ContainsFunc(results, func(r peer.Result) bool { return r.Status == peer.Failed })
	exit, isExit := errors.AsType[*exec.ExitError](err)
	if parseErr != nil || failed != isExit || isExit && exit.ExitCode() != 1 {
		t.Fatalf("%s: %v, %v\n%s\n%s", cmd, err, parseErr, out, &errs)
	}
	return results, errs.String()
}

func parse(out []byte) ([]peer.Result, error) {
	var results []peer.Result
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var result peer.Result
		switch err := decoder.Decode(&result); {
		case errors.Is(err, io.EOF):
			return results, nil
		case err != nil:
			return results, fmt.Errorf("the host's output: %w", err)
		}
		results = append(results, result)
	}
}
