package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// leader refers to a child, and to the group that it leads, by a descriptor. Other code of
// this process may reap the child, as the init of a container does. Its number can then
// belong to another process. The descriptor never does.
type leader struct {
	pidfd int // noPidfd before Linux 5.4
}

const (
	noPidfd = 0
	// minPidfd keeps the descriptor from taking a standard number that is closed.
	minPidfd = 3
)

// open duplicates the descriptor that os got when it started the child.
func (l *leader) open(p *os.Process) (err error) {
	noHandle := p.WithHandle(func(handle uintptr) {
		l.pidfd, err = unix.FcntlInt(handle, unix.F_DUPFD_CLOEXEC, minPidfd)
	})
	if noHandle != nil {
		return nil
	}
	if err != nil {
		l.pidfd = noPidfd
	}
	return os.NewSyscallError("fcntl", err)
}

func (l *leader) close() {
	if l.pidfd != noPidfd {
		_ = unix.Close(l.pidfd)
		l.pidfd = noPidfd
	}
}

// await waits until the child with that number has ended. It does not reap the child. An
// error means that other code has.
func (l *leader) await(pid, options int) error {
	idType, id := unix.P_PIDFD, l.pidfd
	if id == noPidfd {
		idType, id = unix.P_PID, pid
	}
	for {
		err := unix.Waitid(idType, id, nil, options|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// wait waits for the end of the leader. Before it reaps the leader it ends the rest of the
// group.
func (g *group) wait(reap func() error) error {
	g.reapWhileAlive()
	_ = g.leader.await(g.pid, 0) // reap reports if other code was faster
	err := g.kill()
	g.reapAfterKill()
	return errors.Join(err, g.end(reap))
}

// signal sends a signal to the group. The leader cannot leave the group, since it leads a
// session. The kernel finds the group by the descriptor of the leader, also after the leader
// is gone and its number belongs to another process. Callers hold mu.
func (g *group) signal(sig unix.Signal) error {
	if g.leader.pidfd != noPidfd {
		err := pidfdSignal(g.leader.pidfd, sig, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		if !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return g.signalNumber(sig)
}

// signalNumber is signal before Linux 6.9. Until the leader is reaped, no other process has
// its number. If other code of this process has reaped it, signalNumber sends nothing, and
// the rest of the group lives on. Before Linux 5.4, signalNumber takes another child with
// that number for the leader.
func (g *group) signalNumber(sig unix.Signal) error {
	if g.leader.await(g.pid, unix.WNOHANG) != nil {
		return nil //nolint:nilerr // the number may belong to another process by now
	}
	return kill(-g.pid, sig)
}

// pidfdSignal sends a signal. It returns nil if the process has ended: that was the aim.
func pidfdSignal(pidfd int, sig unix.Signal, flags int) error {
	err := unix.PidfdSendSignal(pidfd, sig, nil, flags)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
