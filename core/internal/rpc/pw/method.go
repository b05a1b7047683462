package pw

import (
	"sync/atomic"
	"time"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// method is one method of the other side's calls, as a connection knows it.
type method struct {
	name  string
	entry calls.Method
	known bool // this side has it

	quick atomic.Int32 // how many handlers in a row were quick
	need  atomic.Int32 // how many have to be, until the background runs them itself
}

const (
	// quickTime is how long a handler runs at most that the background runs itself.
	quickTime = 100 * time.Microsecond
	// quickRuns is how many handlers of a method have to be quick first. Each slow one
	// makes it slowFactor times as many, up to mostQuickRuns: on a busy machine the system
	// takes the processor away from a quick handler now and then.
	quickRuns     = 8
	slowFactor    = 4
	mostQuickRuns = 512
	// forgiveAfter is how many handlers in a row have to be quick until quickRuns count
	// again.
	forgiveAfter = 1 << 14
)

func newMethod(name string) *method {
	m := &method{name: name}
	m.need.Store(quickRuns)
	return m
}

func (m *method) isQuick() bool { return m.entry.Unary != nil && m.quick.Load() >= m.need.Load() }

// ran notes how long a handler took.
func (m *method) ran(d time.Duration) {
	if d > quickTime {
		m.slow()
		return
	}
	if m.quick.Add(1) == forgiveAfter {
		m.need.Store(quickRuns)
		m.quick.Store(quickRuns)
	}
}

func (m *method) slow() {
	m.quick.Store(0)
	m.need.Store(min(m.need.Load()*slowFactor, mostQuickRuns))
}
