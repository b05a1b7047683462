//go:build linux || darwin

package process_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/plugwire/plugwire/core/internal/process"
)

func open(t *testing.T, pid int) *process.Other {
	t.Helper()
	o, err := process.OpenOther(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() }) // twice, if the test has
	return o
}

// waiting returns the result of Wait once there is one.
func waiting(o *process.Other) <-chan error {
	result := make(chan error, 1)
	go func() { result <- o.Wait() }()
	return result
}

func within(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(hang):
		t.Fatal("Wait does not return")
		return nil
	}
}

// TestOther watches a process and ends it, also a second time when it has ended.
func TestOther(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*process.Other) error{
		"terminate": (*process.Other).Terminate,
		"kill":      (*process.Other).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid := start(t, "exec sleep 600").PID()
			o, other := open(t, pid), open(t, os.Getpid())
			if o.Started() == "" || o.Started() == other.Started() {
				t.Errorf("started %q, and this process %q", o.Started(), other.Started())
			}
			if again, err := process.StartTime(pid); err != nil || again != o.Started() {
				t.Errorf("StartTime %q, %v; want %q", again, err, o.Started())
			}
			ended := waiting(o)
			if err := end(o); err != nil {
				t.Error(err)
			}
			if err := within(t, ended); err != nil {
				t.Errorf("Wait: %v", err)
			}
			if err := end(o); err != nil {
				t.Errorf("when it has ended: %v", err)
			}
		})
	}
}

// TestOtherClosed ends a Wait by Close. The process goes on.
func TestOtherClosed(t *testing.T) {
	t.Parallel()
	p := start(t, "exec sleep 600")
	o := open(t, p.PID())
	ended := waiting(o)
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := within(t, ended); err == nil {
		t.Error("Wait says that the process has ended")
	}
	_ = open(t, p.PID())
}

// TestOtherGone opens numbers that belong to no process, and the number of a zombie.
func TestOtherGone(t *testing.T) {
	t.Parallel()
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zombie.Wait() }()
	o, err := process.OpenOther(zombie.Process.Pid)
	if err == nil { // it has not ended yet
		if err := within(t, waiting(o)); err != nil {
			t.Errorf("Wait: %v", err)
		}
		_ = o.Close()
	}
	for _, pid := range []int{-1, 0, 1 << 30, zombie.Process.Pid} {
		if o, err := process.OpenOther(pid); err == nil {
			t.Errorf("process %d, started %s", pid, o.Started())
		}
	}
}
