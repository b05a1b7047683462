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

// LifelineSupported reports whether a process can inherit a lifeline.
const LifelineSupported = true

// group is a process group whose leader is the plugin. Its methods are safe for
// concurrent use.
//
// A group is identified by the number of its leader. Once the leader was reaped and the
// group is empty, the system can give that number to another process and its group. No
// signal is sent to a number that may belong to another group: see signal.
type group struct {
	pid    int
	leader leader // identifies the leader

	mu   sync.Mutex // guards gone; held while signals are sent
	gone bool       // the leader and the rest of the group have ended
}

// newGroup changes cmd so that its process leads a group, in a session of its own. So a
// plugin does not get the SIGINT of a terminal, and survives while its host drains. It also
// has no terminal. In the host's session, programs such as ssh, git, sudo or a pager would
// open the host's terminal. The kernel would then stop the plugin's whole group, which is in
// the background there. lasts says whether the thread that starts the process lasts as long
// as this process.
func newGroup(cmd *exec.Cmd, lasts bool) (*group, error) {
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
	attr.Setsid, attr.Setpgid, attr.Noctty = true, false, false // a session includes the others
	bindToParent(&attr, lasts)
	cmd.SysProcAttr = &attr
	return &group{}, nil
}

func (g *group) started(p *os.Process) error {
	g.pid = p.Pid
	return g.leader.open(p)
}

func (g *group) terminate() error { return g.send(unix.SIGTERM) }
func (g *group) quit() error      { return g.send(unix.SIGQUIT) }
func (g *group) kill() error      { return g.send(unix.SIGKILL) }

func (g *group) send(sig unix.Signal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil
	}
	return g.signal(sig)
}

// end calls reap. After that the number can belong to another process.
func (g *group) end(reap func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	return reap()
}

// close releases the leader.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	g.leader.close()
}

// kill sends a signal. It returns nil if no process is left: that was the aim.
func kill(pid int, sig unix.Signal) error {
	err := unix.Kill(pid, sig)
	// macOS returns EPERM for a group of zombies.
	if errors.Is(err, unix.ESRCH) || (runtime.GOOS == "darwin" && errors.Is(err, unix.EPERM)) {
		return nil
	}
	return err
}
