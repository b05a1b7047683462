package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/exampletest"
	"github.com/plugwire/plugwire/core/internal/exampletest/greeter"
)

// launchScript launches a script that is not a plugin, and returns the error.
func launchScript(t *testing.T, path string, opts ...host.Option) *host.StartError {
	t.Helper()
	p, err := host.Launch(t.Context(), exec.Command(path), append([]host.Option{
		host.WithProtocols(greeter.GreeterProtocol), host.WithTransports(exampletest.Loopback{}),
	}, opts...)...)
	if err == nil {
		_ = p.Close()
		t.Error("Launch = nil")
		return &host.StartError{}
	}
	start, ok := errors.AsType[*host.StartError](err)
	if !ok {
		t.Errorf("Launch: %v, want a StartError", err)
		return &host.StartError{}
	}
	return start
}

const endsAtOnce = "#!/bin/sh\nexit 5\n"

// TestStartsJustWritten starts programs that were written a moment ago, many at a time:
// while one is being started its process has open what others are writing.
func TestStartsJustWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var starts sync.WaitGroup
	for i := range 96 {
		starts.Go(func() {
			path := filepath.Join(dir, fmt.Sprint("plugin", i))
			if err := os.WriteFile(path, []byte(endsAtOnce), 0o700); err != nil {
				t.Error(err)
				return
			}
			if err := launchScript(t, path); errors.Is(err, syscall.ETXTBSY) {
				t.Error(err)
			}
		})
	}
	starts.Wait()
}

// TestStartsWhenWritten checks a program whose writer closes it after the first
// attempt.
func TestStartsWhenWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plugin")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(endsAtOnce); err != nil {
		t.Fatal(err)
	}
	trace := &host.Trace{ProcessStart: func(host.ProcessStartEvent) {
		time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() }) // whatever that meets, the start succeeds
	}}
	if err := launchScript(t, path, host.WithTrace(trace)); errors.Is(err, syscall.ETXTBSY) {
		t.Error(err)
	}
}

// TestProgramIsHeld checks a program that stays open for writing: the error names the
// process that has it open.
func TestProgramIsHeld(t *testing.T) {
	t.Parallel()
	script := func(t *testing.T, content string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "plugin")
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check := func(t *testing.T, err *host.StartError, says ...string) {
		t.Helper()
		if !errors.Is(err, syscall.ETXTBSY) || err.Phase != host.PhaseStart {
			t.Errorf("phase %s: %v", err.Phase, err)
		}
		for _, words := range says {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("the error lacks %q: %v", words, err)
			}
		}
	}
	t.Run("by this process", func(t *testing.T) {
		t.Parallel()
		path := script(t, endsAtOnce)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		check(t, launchScript(t, path), "this process has "+path+" open for writing")
	})
	t.Run("by another", func(t *testing.T) {
		t.Parallel()
		path := script(t, endsAtOnce)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		holder := hold(t, path)
		check(t, launchScript(t, link), fmt.Sprintf("process %d (sleep) has %s open for writing", holder, link))
	})
	t.Run("its interpreter", func(t *testing.T) {
		t.Parallel()
		shell, err := os.ReadFile("/bin/sh")
		if err != nil {
			t.Fatal(err)
		}
		interpreter := script(t, string(shell))
		path := script(t, "#!"+interpreter+"\nexit 0\n")
		holder := hold(t, interpreter)
		check(t, launchScript(t, path), fmt.Sprintf("process %d (sleep) has %s open for writing", holder, interpreter))
	})
	t.Run("the context ends first", func(t *testing.T) {
		t.Parallel()
		path := script(t, endsAtOnce)
		hold(t, path)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := host.Launch(ctx, exec.Command(path), host.WithProtocols(greeter.GreeterProtocol), host.WithTransports(exampletest.Loopback{}),
			host.WithTrace(&host.Trace{ProcessStart: func(host.ProcessStartEvent) { time.AfterFunc(20*time.Millisecond, cancel) }}))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Launch: %v, want %v", err, context.Canceled)
		}
	})
}

// hold starts a process that has a file open for writing, and returns its number.
func hold(t *testing.T, path string) int {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `exec 3>>"$0"; echo held; exec sleep 1000`, path)
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}
