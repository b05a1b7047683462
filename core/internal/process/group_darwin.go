package process

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// leader tells the child from every later process with its number: macOS has
// nothing that holds on to a process.
type leader struct {
	started unix.Timeval // zero if other code has reaped the child already
}

func (l *leader) open(p *os.Process) error {
	if info, err := unix.SysctlKinfoProc("kern.proc.pid", p.Pid); err == nil {
		l.started = info.Proc.P_starttime
	}
	return nil
}

func (*leader) close() {}

// await waits until the child has ended, and does not reap it.
func (l *leader) await(pid int) {
	if awaitExit(pid) == nil {
		return
	}
	for { // the system has no descriptor left
		if state, ok := l.state(pid); !ok || state == zombie {
			return
		}
		time.Sleep(endInterval)
	}
}

// endInterval is how often await looks where it cannot be told.
const endInterval = 10 * time.Millisecond

// awaitExit waits until the kernel tells that the child has ended. ESRCH is its
// answer for a child that has ended already.
func awaitExit(pid int) error {
	kq, err := unix.Kqueue()
	if err != nil {
		return err
	}
	defer unix.Close(kq) //nolint:errcheck // nothing was written
	var change, event [1]unix.Kevent_t
	unix.SetKevent(&change[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change[0].Fflags = unix.NOTE_EXIT
	for {
		_, err := unix.Kevent(kq, change[:], event[:], nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ESRCH):
			return nil
		default:
			return err
		}
	}
}

// state returns the state of the child, which may have ended. It reports false if
// other code of this process has reaped the child.
func (l *leader) state(pid int) (state int8, ok bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_starttime != l.started {
		return 0, false
	}
	return info.Proc.P_stat, true
}

// wait ends what is left of the group when its leader has ended and is not yet
// reaped.
func (g *group) wait(reap func() error) error {
	g.leader.await(g.pid)
	err := g.kill()
	return errors.Join(err, g.end(reap))
}

// signal sends to the group. Its leader cannot leave it, as it leads a session. As long
// as the leader is not reaped, its number is its own. When other code of this process has
// reaped it, nothing is sent. Callers hold mu.
func (g *group) signal(sig unix.Signal) error {
	if _, ok := g.leader.state(g.pid); !ok {
		return nil
	}
	return kill(-g.pid, sig)
}
