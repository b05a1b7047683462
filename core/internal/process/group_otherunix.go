//go:build unix && !linux && !darwin

package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// leader is known by its number only.
type leader struct{}

func (leader) open(*os.Process) error { return nil }
func (leader) close()                 {}

// wait ends what is left of the group when its leader has ended. Nothing
// portable waits without reaping; the number is another group's only if it came
// round in between.
func (g *group) wait(reap func() error) error {
	err := reap()
	err = errors.Join(err, g.kill())
	return g.end(func() error { return err })
}

// signal sends to the group. Its leader cannot leave it, as it leads a session. Callers
// hold mu.
func (g *group) signal(sig unix.Signal) error { return kill(-g.pid, sig) }
