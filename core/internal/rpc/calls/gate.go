package calls

import "sync"

// Gate counts calls in flight, up to a limit, and can be closed.
type Gate struct {
	Limit int // 0 means none

	mu    sync.Mutex // guards the fields below
	calls int
	shut  bool
	empty chan struct{} // made by Close, closed when calls reaches 0
}

// Verdict is the result of [Gate.Enter].
type Verdict int

// The verdicts.
const (
	Entered Verdict = iota // the call may run
	IsFull                 // the limit is reached
	IsShut                 // the Gate is closed
)

// Enter lets a call in, or not. It never blocks: a nested call must not wait for another
// call to leave, because that call may be waiting for it.
func (g *Gate) Enter() Verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.shut:
		return IsShut
	case g.Limit > 0 && g.calls >= g.Limit:
		return IsFull
	default:
		g.calls++
		return Entered
	}
}

// Leave ends a call that has entered.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	if g.shut && g.calls == 0 {
		close(g.empty)
	}
}

// Close lets no more calls in. It returns a channel that is closed when the last call has
// left.
func (g *Gate) Close() <-chan struct{} {
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

// InFlight returns how many calls are inside.
func (g *Gate) InFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}
