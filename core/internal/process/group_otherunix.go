//go:build unix && !linux

package process

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToParent does nothing: only Linux has a parent-death signal. A Plugwire
// plugin ends by its lifeline; a foreign one may outlive a killed host here.
func bindToParent(*syscall.SysProcAttr) {}

func (g *group) lockThread() (unlock func()) { return func() {} }

// wait ends what is left of the group when its leader has ended. Nothing
// portable waits without reaping; the number is another group's only if it came
// round in between.
func (g *group) wait(reap func() error) error {
	err := reap()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	return errors.Join(err, kill(-g.pid, unix.SIGKILL))
}
