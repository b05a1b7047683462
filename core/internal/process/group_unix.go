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

// newGroup changes cmd so that its process leads a group, in a session of its own.
// So a plugin does not get the SIGINT of a terminal, and outlives its host's draining.
// And it has no terminal: in the host's session, ssh, git, sudo or a pager that a plugin
// starts would open the host's, and the kernel would stop the plugin's whole group for
// that, as one in the background.
func newGroup(cmd *exec.Cmd) (*group, error) {
	var attr syscall.SysProcAttr
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	if attr.Setpgid && attr.Pgid != 0 {
		return nil, errors.New("SysProcAttr.Pgid: a plugin leads a process group of its own")
	}
	if attr.Foreground {
		return nil, errors.New("SysProcAttr.Foreground: a plugin leads a session of its own, which has no terminal")
	}
	attr.Setsid, attr.Setpgid, attr.Noctty = true, false, false // the first includes the others
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

// signal sends to the group. Its leader cannot leave it, as it leads a session. Callers
// hold mu.
func (g *group) signal(sig unix.Signal) error { return kill(-g.pid, sig) }

func kill(pid int, sig unix.Signal) error {
	err := unix.Kill(pid, sig)
	// EPERM is macOS's answer for a group of zombies.
	if errors.Is(err, unix.ESRCH) || (runtime.GOOS == "darwin" && errors.Is(err, unix.EPERM)) {
		return nil
	}
	return err
}
