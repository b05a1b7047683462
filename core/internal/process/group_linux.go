package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// leader refers to a child by a descriptor of it, and to the group that the child
// leads. The descriptor never becomes another's, as the child's number does when
// other code of this process has reaped it: the init of a container reaps all
// children.
type leader struct {
	pidfd int // noPidfd before Linux 5.4
}

const (
	noPidfd = 0
	// minPidfd keeps the descriptor off the standard ones, which may be closed.
	minPidfd = 3
)

// open takes the descriptor that came with the child's start.
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

// await waits until the child of that number has ended and does not reap it. An
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

// wait ends what is left of the group when its leader has ended and is not yet
// reaped.
func (g *group) wait(reap func() error) error {
	g.reapWhileAlive()
	_ = g.leader.await(g.pid, 0) // reap reports that other code was faster
	err := g.kill()
	g.reapAfterKill()
	return errors.Join(err, g.end(reap))
}

// signal sends to the group. Its leader cannot leave it, as it leads a session. The
// kernel finds the group by its leader's descriptor, also when the leader is gone and the
// number is another's. Callers hold mu.
func (g *group) signal(sig unix.Signal) error {
	if g.leader.pidfd != noPidfd {
		err := pidfdSignal(g.leader.pidfd, sig, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		if !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return g.signalNumber(sig)
}

// signalNumber is for systems before Linux 6.9. As long as the leader is not
// reaped, its number is its own. When other code of this process has reaped it,
// nothing is sent, and what the leader has left behind lives on. Before Linux 5.4
// another child with that number passes for the leader.
func (g *group) signalNumber(sig unix.Signal) error {
	if g.leader.await(g.pid, unix.WNOHANG) != nil {
		return nil //nolint:nilerr // the number may be another's by now
	}
	return kill(-g.pid, sig)
}

// pidfdSignal sends a signal. That nobody is there to get it is what is wanted.
func pidfdSignal(pidfd int, sig unix.Signal, flags int) error {
	err := unix.PidfdSendSignal(pidfd, sig, nil, flags)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
