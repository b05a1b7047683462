package process

import (
	"errors"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToParent has the kernel kill the process when the thread that started it
// ends. A Plugwire plugin, which has a lifeline, turns it off and cleans up
// after itself.
func bindToParent(attr *syscall.SysProcAttr) {
	if attr.Pdeathsig == 0 {
		attr.Pdeathsig = unix.SIGKILL
	}
}

func (g *group) lockThread() (unlock func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// wait ends what is left of the group when its leader has ended and is not yet
// reaped: until then the group's number cannot be anybody else's.
func (g *group) wait(reap func() error) error {
	for {
		err := unix.Waitid(unix.P_PID, g.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break // ended, or not ours to wait for, which reap reports
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	return errors.Join(g.signal(unix.SIGKILL), reap())
}
