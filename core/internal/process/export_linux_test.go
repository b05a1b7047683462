package process

import "os"

// The parts of a group that a test needs to see it without its leader.
type Group = group

var NewGroup = newGroup

func (g *group) Started(p *os.Process) error { return g.started(p) }
func (g *group) Kill() error                 { return g.kill() }
func (g *group) Close()                      { g.close() }

// KillOlder kills the group as before Linux 6.9.
func (g *group) KillOlder() error { return g.signalNumber(9) }
