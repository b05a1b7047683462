package process

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// unbindFromParent undoes bindToParent. The signal is an attribute of the thread
// that was there at exec, the main one, and only a thread itself can change it.
// Go can ask all of them, except in a program with cgo. Where it cannot be
// undone, the process ends by the signal.
func unbindFromParent() {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0)
	if errno == syscall.ENOTSUP {
		onMainThread(func() { _ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) })
	}
}

// mainThreadAttempts bounds the search for the main thread. A program that has
// just started has fewer idle threads than that.
const mainThreadAttempts = 64

// onMainThread calls f on the main thread. Which thread a goroutine gets is the
// scheduler's choice, so it starts one after another, each of which keeps its
// thread, until one is there. It does not call f if the main thread is kept by
// something else, such as the wait for signals that os/signal starts.
func onMainThread(f func()) {
	try := func() bool {
		if unix.Gettid() != unix.Getpid() {
			return false
		}
		f()
		return true
	}
	runtime.LockOSThread()
	done := try()
	runtime.UnlockOSThread()

	release := make(chan struct{})
	defer close(release)
	for i := 0; i < mainThreadAttempts && !done; i++ {
		tried := make(chan bool)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tried <- try()
			<-release
		}()
		done = <-tried
	}
}
