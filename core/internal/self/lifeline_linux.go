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

// unbindFromParent turns off the parent-death signal that package process has set. The
// signal is an attribute of the main thread, and only that thread can change it. A plugin
// that serves first thing runs on the main thread. Otherwise Go can ask all threads, which
// takes half a millisecond, except in a program with cgo. If the signal stays on, it ends
// the process.
func unbindFromParent() {
	if unbindMainThread() {
		return
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0)
	if errno == syscall.ENOTSUP {
		findMainThread(unbindMainThread)
	}
}

// unbindMainThread turns the signal off if the calling goroutine is on the main thread. It
// reports whether it was.
//
// The goroutine is not locked to its thread, because the first lock makes the runtime start
// another thread, which delays each start. These system calls do not enter the scheduler, so the
// goroutine moves only if the runtime preempts it between two of them. It is then on another
// thread at the end. On any other thread the call changes nothing.
func unbindMainThread() bool {
	main := uintptr(unix.Getpid())
	if tid, _, _ := syscall.RawSyscall(unix.SYS_GETTID, 0, 0, 0); tid != main {
		return false
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0)
	tid, _, _ := syscall.RawSyscall(unix.SYS_GETTID, 0, 0, 0)
	return tid == main
}

// mainThreadAttempts bounds the search for the main thread. A program that has just started
// has fewer idle threads.
const mainThreadAttempts = 64

// findMainThread calls try on one thread after another until try returns true. The
// scheduler chooses the thread of a goroutine, so each goroutine keeps its thread while the
// search goes on. The search does not find a main thread that another goroutine is locked
// to or blocks, such as the one of os/signal that waits for signals.
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

// reopen opens a pipe of another process, for reading and not blocking. It returns nil if
// the system does not allow that, or the process does not have the pipe.
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
		if got, err := Identify(f); err != nil || got != id { // by now the number belongs to another file
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
	// While the host lives it ends the group of its child. A program between the two may
	// have made another group for this process, which needs a leash of its own.
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
		lost = fmt.Errorf("leash: %w; it was opened again in the host's process", lost)
	}
	defer f.Close() //nolint:errcheck // nothing was written to it
	err := leash.Hold(f, group)
	if err != nil {
		err = fmt.Errorf("leash: the group ends at once with the host: %w", err)
	}
	return errors.Join(lost, err)
}
