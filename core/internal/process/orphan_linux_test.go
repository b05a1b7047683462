package process_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOrphansAreReaped runs hosts that get the children of their plugins when the plugins end:
// the first process of a container, and a process that has asked for orphans.
func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	t.Run("first process of a container", func(t *testing.T) {
		t.Parallel()
		if os.Getuid() != 0 {
			t.Skip("only root can make a namespace of process numbers")
		}
		if !inOwnProcess(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}) {
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			t.Fatal(err)
		}
		if os.Getpid() != 1 {
			t.Fatalf("this is process %d", os.Getpid())
		}
		testOrphans(t)
	})
	t.Run("subreaper", func(t *testing.T) {
		t.Parallel()
		if !inOwnProcess(t, nil) {
			return
		}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		testOrphans(t)
	})
}

// testOrphans keeps a child of the test all the time. Only the test may take its status.
func testOrphans(t *testing.T) {
	t.Helper()
	own := exec.Command("/bin/sh", "-c", "exit 7")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	awaitChildren := func(when string, want ...int) {
		t.Helper()
		for deadline := time.Now().Add(hang); len(childrenOf(t, os.Getpid())) != len(want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: children %v, want %v only", when, childrenOf(t, os.Getpid()), want)
			}
		}
	}
	// An orphan that does not end within a second, on a busy machine, is reaped later.
	assertNoOrphans := func(when string) {
		t.Helper()
		awaitChildren(when, own.Process.Pid)
	}
	for _, script := range []string{
		"sleep 1000 & sleep 1000 & exit 0",
		"sh -c 'sleep 1000 & sh -c \"sleep 1000 & sleep 1000\"' & exit 0",
		"(exit 1 &) ; exit 0",
	} {
		for range 5 {
			finish(t, start(t, script))
			assertNoOrphans(script)
		}
	}
	p := start(t, "sleep 1000 & sleep 1000")
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	finish(t, p)
	assertNoOrphans("killed")

	// An orphan that ends long before the plugin does.
	p = start(t, "(sh -c 'echo orphan; exit 1' &) ; exec sleep 1000")
	stdout, _ := p.Output()
	if _, err := io.ReadFull(stdout, make([]byte, len("orphan\n"))); err != nil {
		t.Fatal(err)
	}
	awaitChildren("an orphan has ended", own.Process.Pid, p.PID())
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	finish(t, p)

	// An orphan in a group of its own, which lives on after the plugin.
	if bash, err := exec.LookPath("bash"); err == nil { // other shells give jobs a group at a terminal only
		p = start(t, "set -m; sleep 0.3 >/dev/null 2>&1 & exit 0", func(cmd *exec.Cmd) { cmd.Path = bash })
		finish(t, p)
		awaitChildren("a job", own.Process.Pid)
	}
	_ = own.Wait()
	if code := own.ProcessState.ExitCode(); code != 7 {
		t.Errorf("the status of a child that is not a plugin's: %d, want 7", code)
	}
}

// childrenOf returns the processes whose parent is pid, zombies too.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		var child, parent int
		var state string
		_, err = fmt.Sscan(string(text), &child)
		if err == nil {
			_, err = fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent)
		}
		if err != nil {
			t.Fatal(err)
		}
		if parent == pid {
			children = append(children, child)
		}
	}
	return children
}
