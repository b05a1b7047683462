package process

import (
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhyStopped follows a process that runs, is stopped by signals and by a tracer, goes on,
// and ends.
func TestWhyStopped(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // which traces
	defer runtime.UnlockOSThread()
	cmd := exec.Command("sleep", "1000")
	// The group of this process may be an orphaned one, in which SIGTSTP and the signals
	// of terminals stop nothing.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	await := func(what, want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			why := WhyStopped(pid)
			if (want == "" && why == "") || (want != "" && strings.Contains(why, want)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q, want %q", what, why, want)
			}
		}
	}
	await("it runs", "")
	for _, sig := range []syscall.Signal{unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
		if err := unix.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		await(sig.String(), "process "+strconv.Itoa(pid)+" is stopped (T)")
		if err := unix.Kill(pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		await("SIGCONT after "+sig.String(), "")
	}
	switch err := unix.PtraceSeize(pid); err {
	case nil:
		if err := unix.PtraceInterrupt(pid); err != nil {
			t.Fatal(err)
		}
		await("a tracer", "is stopped (t) by process ")
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil { // the stop
			t.Fatal(err)
		}
		if err := unix.PtraceDetach(pid); err != nil {
			t.Fatal(err)
		}
		await("without the tracer", "")
	default:
		t.Logf("no tracer: %v", err)
	}
	if IsEnding(pid) {
		t.Error("it counts as ending")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !IsEnding(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is no zombie")
		}
	}
	fields, err := statFields(pid)
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := strconv.ParseUint(fields[flagsField], 10, 32); err != nil || flags&exitingFlag == 0 {
		t.Errorf("a zombie has flags %s (%v), want %#x among them", fields[flagsField], err, exitingFlag)
	}
	if why := WhyStopped(pid); why != "" {
		t.Errorf("a zombie: %q", why)
	}
	ended = true
	if err := cmd.Wait(); err == nil {
		t.Error("it ended in good order")
	}
	if why := WhyStopped(pid); why != "" {
		t.Errorf("a process that is gone: %q", why)
	}
	if !IsEnding(pid) {
		t.Error("a process that is gone does not count as ending")
	}
}
