package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/process"
)

// TestStartsFromCallersThread starts a process on a thread that differs from the other threads
// of this process, and then ends the thread. The process is like the thread was, and goes on.
func TestStartsFromCallersThread(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	type result struct {
		p      *process.Process
		want   string // what the process prints
		thread int
		err    error
	}
	results := make(chan result, 1)
	onThreadThatEnds(func() {
		defer r.Close()
		res := result{thread: unix.Gettid()}
		res.want, res.err = spoilThread(res.thread)
		if res.err == nil {
			cmd := exec.Command("/bin/sh", "-c", "nice; readlink /proc/self/ns/net; read word <&3; echo $word")
			cmd.ExtraFiles = []*os.File{r}
			res.p, res.err = process.Start(cmd, nil)
		}
		results <- res
	})
	res := <-results
	if res.err != nil {
		t.Fatal(res.err)
	}
	t.Cleanup(func() { _ = res.p.Kill() }) // an error is of one that ended long ago
	stdout, _ := res.p.Output()
	lines := bufio.NewScanner(stdout)
	var got strings.Builder
	for range 2 {
		lines.Scan()
		fmt.Fprintln(&got, lines.Text())
	}
	if got.String() != res.want {
		t.Errorf("the process says %q, want what the thread has: %q", got.String(), res.want)
	}
	for deadline := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", res.thread)); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %d does not end", res.thread)
		}
	}
	if _, err := fmt.Fprintln(w, "alive"); err != nil {
		t.Fatal(err)
	}
	if lines.Scan(); lines.Text() != "alive" {
		t.Errorf("the process says %q, want that it lives after its thread", lines.Text())
	}
	if s := finish(t, res.p); s.status != (process.Status{}) {
		t.Errorf("%+v", s.status)
	}
}

// onThreadThatEnds calls f on a thread that then ends. It is not the main thread.
func onThreadThatEnds(f func()) {
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		started := make(chan struct{})
		onThreadThatEnds(func() { // it gets another thread while this one is kept
			close(started)
			f()
		})
		<-started
	}()
}

// spoilThread makes the calling thread differ from the others, and returns the difference.
func spoilThread(thread int) (string, error) {
	const nice = 11
	if err := unix.Setpriority(unix.PRIO_PROCESS, thread, nice); err != nil {
		return "", err
	}
	if os.Getuid() == 0 {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil && !errors.Is(err, unix.EPERM) {
			return "", err
		}
	}
	namespace, err := os.Readlink("/proc/thread-self/ns/net")
	return fmt.Sprintf("%d\n%s\n", nice, namespace), err
}
