//go:build unix

package pyvider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// said is the last line that host.py prints.
type said struct {
	Endpoint string `json:"endpoint"`
	Version  int    `json:"version"`
	TLS      bool   `json:"tls"`
	Exit     int    `json:"exit"` // the plugin's exit code

	Result      string `json:"result"`
	Code        string `json:"code"`
	Details     string `json:"details"`
	CodeOfOther string `json:"code_of_other"`
}

// patience sets longer limits for their host, for a machine that is busy with
// other things. The defaults are 10 and 5 seconds.
var patience = []string{
	"PLUGIN_CHANNEL_READY_TIMEOUT=60",
	"PLUGIN_GRPC_KEEPALIVE_TIMEOUT_MS=60000",
}

// theirHost returns the command of the host on pyvider-rpcplugin with a task and
// a plugin of ours.
func theirHost(t *testing.T, task string, env ...string) *exec.Cmd {
	t.Helper()
	env = slices.Concat(patience, env, []string{roleVariable + "=" + rolePlugin})
	return script(t, []string{"host.py", task, os.Args[0]}, env)
}

// run performs a task of host.py, which has to succeed. The directory for
// temporary files must be empty afterwards, unless the plugin could not end
// normally.
func run(t *testing.T, task string, env ...string) (s said, stderr string) {
	t.Helper()
	tmp := tempDir(t)
	cmd := theirHost(t, task, append(env, "TMPDIR="+tmp)...)
	ctx := testContext(t)
	kill := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // the process may have ended, as it should
	defer kill()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(t.Output(), &errs)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 && task != "crash" {
		t.Errorf("left behind: %q, %v", left, err)
	}
	return s, errs.String()
}

func (s said) checkExit(t *testing.T, code int) {
	t.Helper()
	if s.Exit != code {
		t.Errorf("the exit code of the plugin is %d, want %d", s.Exit, code)
	}
}

// TestOurPlugin checks all calls from their host to our plugin, over each
// transport, with and without TLS.
func TestOurPlugin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  []string
		unix bool
		tls  bool
	}{
		{name: "unix, mutual TLS", unix: true, tls: true},
		{name: "unix, plain", env: []string{declineTLS}, unix: true},
		{name: "tcp, mutual TLS", env: []string{"PLUGIN_TRANSPORTS=tcp"}, tls: true},
		{name: "tcp, plain", env: []string{"PLUGIN_TRANSPORTS=tcp", declineTLS}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary.note(t, "pyvider", "plugwire", tt.name)
			require(t)
			s, _ := run(t, "calls", tt.env...)
			if strings.HasPrefix(s.Endpoint, "unix:") != tt.unix || s.TLS != tt.tls || s.Version != 1 {
				t.Errorf("version %d on %s, TLS %t", s.Version, s.Endpoint, s.TLS)
			}
			s.checkExit(t, 0)
		})
	}
}

// TestOurPluginFails checks that our plugin keeps running after a panic in a
// handler.
func TestOurPluginFails(t *testing.T) {
	t.Parallel()
	summary.note(t, "pyvider", "plugwire", "panic in a handler")
	require(t)
	s, _ := run(t, "failure")
	if s.Code != "INTERNAL" || !strings.Contains(s.Details, "on purpose") {
		t.Errorf("a handler that panics: %s %q, want INTERNAL and the reason", s.Code, s.Details)
	}
	if s.Result != "a word from the plugin" {
		t.Errorf("the call after that: %q, want its result", s.Result)
	}
	s.checkExit(t, 0)
}

// TestOurPluginStops checks that their host can stop our plugin during a call.
// The call ends first.
func TestOurPluginStops(t *testing.T) {
	t.Parallel()
	summary.note(t, "pyvider", "plugwire", "stop during a call")
	require(t)
	s, _ := run(t, "stop")
	if s.Result != "waiting" {
		t.Errorf("the call: %q, %s %q; want its result", s.Result, s.Code, s.Details)
	}
	s.checkExit(t, 0)
}

// TestOurPluginCrashes checks what happens when our plugin exits during calls
// of their host.
func TestOurPluginCrashes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  []string
	}{
		{name: "unix"},
		{name: "tcp", env: []string{"PLUGIN_TRANSPORTS=tcp"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary.note(t, "pyvider", "plugwire", "plugin exits, "+tt.name)
			require(t)
			s, _ := run(t, "crash", tt.env...)
			if s.Code != "UNAVAILABLE" || s.CodeOfOther != "UNAVAILABLE" {
				t.Errorf("the calls: %s %q, and %s; want UNAVAILABLE", s.Code, s.Details, s.CodeOfOther)
			}
			s.checkExit(t, exitCode)
		})
	}
}

// TestTheirHostPings makes a call that lasts as long as 5 pings of their host.
// It takes 5 seconds, because gRPC for Python pings at most once a second. By
// default grpc's servers end the connection at the fourth ping.
func TestTheirHostPings(t *testing.T) {
	t.Parallel()
	summary.note(t, "pyvider", "plugwire", "pings")
	require(t)
	s, stderr := run(t, "idle", "PLUGIN_GRPC_KEEPALIVE_TIME_MS=1000")
	if s.Result != "x" {
		t.Errorf("the call: %q, %s %q; want its result", s.Result, s.Code, s.Details)
	}
	// The server announces the end of the connection, and ends it a second
	// later.
	if strings.Contains(stderr, "GOAWAY") {
		t.Errorf("the plugin ends the connection: %s", stderr)
	}
}

// TestTheirHostKilled kills their host. Our plugin ends and leaves nothing
// behind.
func TestTheirHostKilled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  []string
	}{
		{name: "unix"},
		{name: "tcp", env: []string{"PLUGIN_TRANSPORTS=tcp"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary.note(t, "pyvider", "plugwire", "host killed, "+tt.name)
			require(t)
			tmp := tempDir(t)
			cmd := theirHost(t, "hold", append(tt.env, "TMPDIR="+tmp)...)
			pid := killHost(t, cmd, readPID)
			eventually(t, func() string { return complaint(pid) })
			eventually(t, func() string {
				left, err := filepath.Glob(filepath.Join(tmp, "*"))
				if err != nil || len(left) > 0 {
					return fmt.Sprintf("left behind: %q, %v", left, err)
				}
				return ""
			})
		})
	}
}

// readPID reads the first line of the task hold of host.py.
func readPID(line []byte) (int, error) {
	var plugin struct {
		PID int `json:"pid"`
	}
	err := json.Unmarshal(line, &plugin)
	return plugin.PID, err
}

// complaint reports that a process is still running. After the death of its
// host, no process may be there to reap it.
func complaint(pid int) string {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || ended(pid) {
		return ""
	}
	return fmt.Sprintf("the plugin, process %d, lives on", pid)
}
