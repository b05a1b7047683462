package rpc

import "sync"

// gate counts calls in flight, up to a limit, and can be shut.
type gate struct {
	limit int // 0 means none

	mu    sync.Mutex // guards the fields below
	calls int
	shut  bool
	empty chan struct{} // made by close, closed when calls reaches 0
}

// A verdict is what a gate says to a call that wants to enter.
type verdict int

const (
	entered verdict = iota
	isFull          // as many calls as the limit allows are inside
	isShut
)

// enter never waits. A call that waits for another to leave is what nested calls
// must not do: the one that it waits for may be waiting for it.
func (g *gate) enter() verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.shut:
		return isShut
	case g.limit > 0 && g.calls >= g.limit:
		return isFull
	default:
		g.calls++
		return entered
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	if g.shut && g.calls == 0 {
		close(g.empty)
	}
}

// close shuts the gate and returns a channel that is closed when the last call
// has left.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		g.empty = make(chan struct{})
		if g.calls == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

func (g *gate) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}
