package self

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plugwire/plugwire/core/internal/leash"
)

// unbindFromParent undoes bindToParent. The signal is an attribute of the thread
// that was there at exec, the main one, and only a thread itself can change it.
// A plugin that serves first thing is on it. Otherwise Go can ask all threads,
// which takes it half a millisecond, except in a program with cgo. Where it
// cannot be undone, the process ends by the signal.
func unbindFromParent() {
	if unbindMainThread() {
		return
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0)
	if errno == syscall.ENOTSUP {
		findMainThread(unbindMainThread)
	}
}

// unbindMainThread does it if the calling goroutine is on the main thread, and
// reports whether it was.
func unbindMainThread() bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() != unix.Getpid() {
		return false
	}
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	return true
}

// mainThreadAttempts bounds the search for the main thread. A program that has
// just started has fewer idle threads than that.
const mainThreadAttempts = 64

// findMainThread calls try on one thread after another until it returns true.
// Which thread a goroutine gets is the scheduler's choice, so each goroutine
// keeps its own while the search goes on. It does not find a main thread that is
// kept by something else, such as the wait for signals that os/signal starts.
func findMainThread(try func() bool) {
	release := make(chan struct{})
	defer close(release)
	found := false
	for i := 0; i < mainThreadAttempts && !found; i++ {
		tried := make(chan bool)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tried <- try()
			<-release
		}()
		found = <-tried
	}
}

// reopen opens a pipe anew that a process has, for reading and not blocking, or
// returns nil: the system may not allow it, and the process may not have it.
func reopen(pid int, id FileID) *os.File {
	if pid <= 0 || id == (FileID{}) {
		return nil
	}
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if target, err := os.Readlink(dir + entry.Name()); err != nil || target != fmt.Sprintf("pipe:[%d]", id.Inode) {
			continue
		}
		f, err := os.OpenFile(dir+entry.Name(), os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // in /proc
		if err != nil {
			return nil
		}
		if got, err := Identify(f); err != nil || got != id { // the number is in use for something else by now
			_ = f.Close() // nothing was written to it
			return nil
		}
		return f
	}
	return nil
}

// resumeAtEnd makes the kernel resume this process when the pipe ends.
func resumeAtEnd(pipe *os.File) error {
	if err := leash.ResumeAtEnd(pipe); err != nil {
		return fmt.Errorf("lifeline: a plugin that is stopped when its host dies stays until it is resumed: %w", err)
	}
	return nil
}

// holdLeash makes this process one that holds the leash of a group, until it ends.
func holdLeash(t Ties, group int) error {
	if t.Leash.FD == 0 {
		return nil
	}
	if group == 0 {
		return errors.New("leash: the group is outside of this process's PID namespace, and ends at once with the host")
	}
	// The group of the host's child ends with that, as long as the host lives. A program
	// between the two may have made another one for this process.
	if group == unix.Getpid() && unix.Getppid() != t.Host {
		if err := leash.HoldOwn(group); err != nil {
			return err
		}
	}
	f, lost := t.Leash.inheritOrReopen(t.Host)
	if f == nil {
		return fmt.Errorf("leash: %w; the group ends at once with the host", lost)
	}
	if lost != nil {
		lost = fmt.Errorf("leash: %w; it was opened anew in the host's process", lost)
	}
	defer f.Close() //nolint:errcheck // nothing was written to it
	err := leash.Hold(f, group)
	if err != nil {
		err = fmt.Errorf("leash: the group ends at once with the host: %w", err)
	}
	return errors.Join(lost, err)
}
