//go:build unix

package process

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// LifelineSupported says whether a process can inherit a lifeline.
const LifelineSupported = true

// group is a process group whose leader is the plugin. Its methods are safe for
// concurrent use.
type group struct {
	pid int

	mu   sync.Mutex // guards gone; held while signals are sent
	gone bool       // the leader was reaped: its number may be another's
}

// newGroup changes cmd so that its process leads a group: one of its own, or
// the session that the user asked for. In a group of its own, a plugin does not
// get the SIGINT of a terminal, and so outlives its host's draining.
func newGroup(cmd *exec.Cmd) (*group, error) {
	var attr syscall.SysProcAttr
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	if attr.Setpgid && attr.Pgid != 0 {
		return nil, errors.New("SysProcAttr.Pgid: a plugin leads a process group of its own")
	}
	attr.Setpgid = !attr.Setsid
	bindToParent(&attr)
	cmd.SysProcAttr = &attr
	return &group{}, nil
}

func (g *group) started(p *os.Process) error {
	g.pid = p.Pid
	return nil
}

func (g *group) terminate() error { return g.send(unix.SIGTERM) }
func (g *group) kill() error      { return g.send(unix.SIGKILL) }
func (g *group) close()           {}

func (g *group) send(sig unix.Signal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil
	}
	return g.signal(sig)
}

// signal sends to the group, and to its leader if that has left it: a process
// may move to another group, of a host's session for example. Callers hold mu.
func (g *group) signal(sig unix.Signal) error {
	err := kill(-g.pid, sig)
	if pgid, pgidErr := unix.Getpgid(g.pid); pgidErr == nil && pgid != g.pid {
		err = errors.Join(err, kill(g.pid, sig))
	}
	return err
}

func kill(pid int, sig unix.Signal) error {
	err := unix.Kill(pid, sig)
	// EPERM is macOS's answer for a group of zombies.
	if errors.Is(err, unix.ESRCH) || (runtime.GOOS == "darwin" && errors.Is(err, unix.EPERM)) {
		return nil
	}
	return err
}
