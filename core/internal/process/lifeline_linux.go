package process

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
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
