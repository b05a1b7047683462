package process

import (
	"errors"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An orphan is a process of a plugin's group or session whose parent has ended. The system
// makes it a child of the first process of the container, or of a process that has asked for
// orphans (PR_SET_CHILD_SUBREAPER). If that is the host, the host has to reap the orphans:
// otherwise each stays as a zombie until the host ends.
//
// Processes that have left both the group and the session of the plugin are the concern of
// the container's init, since they look like other children of the host.

const (
	// orphanInterval is how often a host looks for orphans that have ended while their
	// plugin lives.
	orphanInterval = time.Second
	// orphanTimeout bounds the wait for orphans that got SIGKILL. The kernel ends them at
	// once unless they are stuck in a driver.
	orphanTimeout = time.Second
	// maxOrphanPause is the longest pause between two looks within orphanTimeout.
	maxOrphanPause = 20 * time.Millisecond
)

// getsOrphans reports whether the system gives orphans to this process.
func getsOrphans() bool {
	if unix.Getpid() == 1 {
		return true
	}
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0) //nolint:gosec // prctl takes the address of an int
	return err == nil && subreaper != 0
}

// reapWhileAlive reaps orphans until the leader has ended, if the host gets orphans.
func (g *group) reapWhileAlive() {
	for g.leader.pidfd != noPidfd && getsOrphans() {
		fds := []unix.PollFd{{Fd: int32(g.leader.pidfd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small numbers
		n, err := unix.Poll(fds, int(orphanInterval/time.Millisecond))
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		// Asking the kernel first is cheaper than looking at all processes.
		var info unix.Siginfo
		if unix.Waitid(unix.P_PGID, g.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil && info.Signo != 0 {
			g.reapOrphans()
		}
	}
}

// reapAfterKill reaps all orphans, if the host gets orphans. Call it after the group was
// killed and before its leader is reaped. Until then no other group or session has these
// numbers.
func (g *group) reapAfterKill() {
	if !getsOrphans() {
		return
	}
	deadline := time.Now().Add(orphanTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, maxOrphanPause) {
		reaped, killed, others := g.reapOrphans()
		// Each process that was reaped may have left orphans of its own.
		if (reaped || len(killed) > 0) && time.Now().Before(deadline) {
			time.Sleep(pause)
			continue
		}
		for _, pid := range append(killed, others...) {
			g.reapLater(pid)
		}
		return
	}
}

// reapOrphans reaps the orphans that have ended, and reports whether there were any. It also
// returns the processes of the group, and the other orphans of the session, that have not
// ended.
func (g *group) reapOrphans() (reaped bool, group, session []int) {
	for pid := range processes() {
		s, err := readStat(pid)
		switch {
		case err != nil || pid == g.pid || !g.has(s):
		case s.state == zombieState && s.parent != unix.Getpid(): // its parent reaps it
		case s.state == zombieState && g.reapOrphan(pid):
			reaped = true
		case s.group == g.pid: // threads of a zombie may live
			group = append(group, pid)
		case s.parent == unix.Getpid():
			session = append(session, pid)
		}
	}
	return reaped, group, session
}

func (g *group) has(s stat) bool { return s.group == g.pid || s.session == g.pid }

// reapOrphan reaps an orphan. It reports false if a thread of the orphan has not ended.
func (g *group) reapOrphan(pid int) bool {
	o, err := g.openOrphan(pid)
	if err != nil {
		return true // other code was faster
	}
	defer o.Close() //nolint:errcheck // nothing was written
	return o.reap()
}

// reapLater reaps an orphan once it ends. The system, or the orphan's rights, may delay that.
func (g *group) reapLater(pid int) {
	o, err := g.openOrphan(pid)
	if err != nil {
		return // other code was faster
	}
	go func() {
		defer o.Close() //nolint:errcheck // nothing was written
		if o.Wait() == nil {
			o.reap()
		}
	}()
}

var errNoOrphan = errors.New("not an orphan of the group")

// openOrphan opens a process, and then checks that it is the orphan that was found. Other
// code may have reaped the orphan, or even the leader.
func (g *group) openOrphan(pid int) (*Other, error) {
	o, err := openPidfd(pid)
	if err != nil {
		return nil, err
	}
	if s, err := readStat(pid); err != nil || !g.has(s) || g.leader.await(g.pid, unix.WNOHANG) != nil {
		return nil, errors.Join(errNoOrphan, o.Close())
	}
	return o, nil
}

// zombieState is the state of a process that has ended and is not reaped.
const zombieState = 'Z'

// stat holds some fields of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	state                  byte
	parent, group, session int
}

func readStat(pid int) (s stat, err error) {
	fields, err := statFields(pid)
	if err != nil {
		return s, err
	}
	s.state = fields[0][0]
	for i, value := range []*int{&s.parent, &s.group, &s.session} {
		if *value, err = strconv.Atoi(fields[i+1]); err != nil {
			return s, err
		}
	}
	return s, nil
}
