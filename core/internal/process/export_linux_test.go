package process

import (
	"os"
	"os/exec"
)

// Group is a group for tests of one without a leader.
type Group = group

func NewGroup(cmd *exec.Cmd) (*Group, error) { return newGroup(cmd, true) }

func (g *group) Started(p *os.Process) error { return g.started(p) }
func (g *group) Kill() error                 { return g.kill() }
func (g *group) Close()                      { g.close() }

// KillOlder kills the group as before Linux 6.9.
func (g *group) KillOlder() error { return g.signalNumber(9) }
