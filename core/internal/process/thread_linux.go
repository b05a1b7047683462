package process

import (
	"bytes"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// callersThread reports whether the calling thread itself has to start a process, and
// whether the starting thread lasts as long as this process.
//
// A new process inherits from the thread that starts it: namespaces, working directory,
// user, capabilities, and filters of system calls. All threads of Go are alike, except those
// that a caller has changed and keeps for itself by [runtime.LockOSThread]. Such a thread
// starts a process itself.
//
// All other processes are started by a thread that does nothing else. The kernel sends the
// parent-death signal when the starting thread ends, not when the process does. A locked
// thread ends with its goroutine, except the main thread.
func callersThread() (here, lasts bool) {
	if !lockedToThread() {
		return false, true
	}
	return true, unix.Gettid() == unix.Getpid()
}

// lockedToThread reports whether the calling goroutine is locked to its thread. Only the
// header of a stack trace shows it: "goroutine 7 [running, locked to thread]:".
func lockedToThread() bool {
	var buf [256]byte // has room for the longest header
	header, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte("\n"))
	return bytes.Contains(header, []byte(", locked to thread"))
}

// bindToParent makes the kernel kill the process when the thread that starts it ends. That
// also ends a process whose host dies before the leash is tied. A Plugwire plugin, which has
// a lifeline, turns the signal off, and cleans up after itself.
//
// A process whose starting thread does not last has its leash and its lifeline only. If a
// plugin without a lifeline is started so, and its host is killed before the leash is tied,
// the plugin outlives the host.
func bindToParent(attr *syscall.SysProcAttr, lasts bool) {
	if lasts && attr.Pdeathsig == 0 {
		attr.Pdeathsig = unix.SIGKILL
	}
}
