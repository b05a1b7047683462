package process_test

import (
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestOutputHeld distinguishes an output that another process holds from one that is not yet
// read, and from one that has ended.
func TestOutputHeld(t *testing.T) {
	t.Parallel()
	t.Run("not read yet, and ended", func(t *testing.T) {
		t.Parallel()
		p := start(t, "echo unread")
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		if holders, held := p.OutputHeld(); held {
			t.Errorf("before it is read: held by %q", holders)
		}
		finish(t, p)
		if holders, held := p.OutputHeld(); held {
			t.Errorf("after its end: held by %q", holders)
		}
	})
	t.Run("held", func(t *testing.T) {
		t.Parallel()
		// A process in another session takes over the output, and prints its number.
		p := start(t, "setsid sh -c 'echo $$; exec sleep 1000' & read forever </dev/zero")
		stdout, _ := p.Output()
		var pid int
		if _, err := fmt.Fscanln(stdout, &pid); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("process %d (sleep)", pid)
		for deadline := time.Now().Add(hang); ; time.Sleep(time.Millisecond) { // the shell becomes sleep
			holders, held := p.OutputHeld()
			if held && slices.Equal(holders, []string{want}) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("held by %q: %t; want %q", holders, held, want)
			}
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		finish(t, p)
	})
	t.Run("by processes that are being started", func(t *testing.T) {
		t.Parallel()
		p := start(t, "exit 0")
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() { // until it executes its program, each process has the pipes of all others
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		}()
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if holders, held := p.OutputHeld(); held && len(holders) > 0 {
				t.Errorf("held by %q", holders)
			}
		}
		close(stop)
		<-done
		finish(t, p)
	})
}
