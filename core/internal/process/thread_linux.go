package process

import (
	"bytes"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// callersThread reports whether a process has to be started by the thread that calls
// this, and whether that thread lasts as long as this process.
//
// A new process is like the thread that starts it: it has the thread's namespaces,
// working directory, user, capabilities, and filters of system calls. Go's threads are
// all alike but for those that a caller has changed, and keeps for itself by
// [runtime.LockOSThread]. From such a thread a process is started right there.
//
// All others are started by a thread that does nothing else, because of the parent-death
// signal, which the kernel sends when the starting thread ends, not the process. A locked
// thread ends when its goroutine does, but for the main one.
func callersThread() (here, lasts bool) {
	if !lockedToThread() {
		return false, true
	}
	return true, unix.Gettid() == unix.Getpid()
}

// lockedToThread reports whether the calling goroutine is locked to its thread. Only the
// header of a stack trace tells: "goroutine 7 [running, locked to thread]:".
func lockedToThread() bool {
	var buf [256]byte // has room for the longest header
	header, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte("\n"))
	return bytes.Contains(header, []byte(", locked to thread"))
}

// bindToParent makes the kernel kill the process when the thread that starts it ends.
// That also ends a process whose host dies before the leash is tied. A Plugwire plugin,
// which has a lifeline, turns it off and cleans up after itself.
//
// A process that is started by a thread which does not last has its leash and its
// lifeline only. A plugin that does not know of the lifeline outlives a host that is
// killed in the moment between the start and the tying of the leash.
func bindToParent(attr *syscall.SysProcAttr, lasts bool) {
	if lasts && attr.Pdeathsig == 0 {
		attr.Pdeathsig = unix.SIGKILL
	}
}
