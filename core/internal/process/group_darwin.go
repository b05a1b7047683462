package process

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// leader distinguishes the child from later processes with the same number. macOS has no
// handle for a process.
type leader struct {
	started unix.Timeval // zero if other code had reaped the child at once
}

func (l *leader) open(p *os.Process) error {
	if info, err := unix.SysctlKinfoProc("kern.proc.pid", p.Pid); err == nil {
		l.started = info.Proc.P_starttime
	}
	return nil
}

func (*leader) close() {}

// await waits until the child has ended. It does not reap the child.
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

// endInterval is how often await looks when the system has no descriptor for it.
const endInterval = 10 * time.Millisecond

// awaitExit waits until the kernel reports the end of the child. For a child that has ended
// already the kernel returns ESRCH.
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

// state returns the state of the child, which may have ended. It reports false if other code
// of this process has reaped the child.
func (l *leader) state(pid int) (state int8, ok bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_starttime != l.started {
		return 0, false
	}
	return info.Proc.P_stat, true
}

// wait waits for the end of the leader. Before it reaps the leader it ends the rest of the
// group.
func (g *group) wait(reap func() error) error {
	g.leader.await(g.pid)
	err := g.kill()
	return errors.Join(err, g.end(reap))
}

// signal sends a signal to the group. The leader cannot leave the group, since it leads a
// session. Until the leader is reaped, no other process has its number. If other code of
// this process has reaped it, signal sends nothing. Callers hold mu.
func (g *group) signal(sig unix.Signal) error {
	if _, ok := g.leader.state(g.pid); !ok {
		return nil
	}
	return kill(-g.pid, sig)
}
