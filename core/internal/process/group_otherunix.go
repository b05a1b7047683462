//go:build unix && !linux && !darwin

package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// leader is empty: these systems identify a process by its number only.
type leader struct{}

func (leader) open(*os.Process) error { return nil }
func (leader) close()                 {}

// wait waits for the end of the leader, and then ends the rest of the group. No portable
// call waits without reaping. Between the two the number could go to another group, if the
// system has used all other numbers by then.
func (g *group) wait(reap func() error) error {
	err := reap()
	err = errors.Join(err, g.kill())
	return g.end(func() error { return err })
}

// signal sends a signal to the group. The leader cannot leave the group, since it leads a
// session. Callers hold mu.
func (g *group) signal(sig unix.Signal) error { return kill(-g.pid, sig) }
