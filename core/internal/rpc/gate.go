package rpc

import "sync"

// gate counts calls in flight and can be shut.
type gate struct {
	mu    sync.Mutex // guards the fields below
	calls int
	shut  bool
	empty chan struct{} // made by close, closed when calls reaches 0
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.calls++
	return true
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
