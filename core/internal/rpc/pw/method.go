package pw

import (
	"strings"
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
	need  atomic.Int32 // how many have to be, until the reader runs them itself
	mean  atomic.Int64 // how long a handler takes, in nanoseconds; the last ones count most
}

const (
	// quickTime is how long a handler runs at most that the reader runs itself.
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
	// meanOf is how many handlers the mean is of, roughly.
	meanOf = 16
	// slowMean is the mean after a handler that kept the role for a tick, and of a method
	// that was not called yet.
	slowMean = 4 * quickTime
)

func newMethod(name string) *method {
	m := &method{name: name}
	m.need.Store(quickRuns)
	m.mean.Store(int64(slowMean))
	return m
}

// isQuick reports whether the reader may run a handler itself. A handler that is slow now
// and then delays nobody as long as its call is alone.
func (m *method) isQuick(alone bool) bool {
	if m.entry.Unary == nil {
		return false
	}
	return m.quick.Load() >= m.need.Load() || alone && m.mean.Load() < int64(quickTime)
}

// ran notes how long a handler took.
func (m *method) ran(d time.Duration) {
	mean := m.mean.Load()
	m.mean.Store(mean + (int64(d)-mean)/meanOf)
	if d > quickTime {
		m.hurry()
		return
	}
	if m.quick.Add(1) == forgiveAfter {
		m.need.Store(quickRuns)
		m.quick.Store(quickRuns)
	}
}

// hurry asks for more quick handlers in a row.
func (m *method) hurry() {
	m.quick.Store(0)
	m.need.Store(min(m.need.Load()*slowFactor, mostQuickRuns))
}

// slow notes a handler that kept the role of the reader for a tick.
func (m *method) slow() {
	m.hurry()
	m.mean.Store(int64(slowMean))
}

// methodNamed returns the method of a call of the other side. The caller holds mu.
func (c *conn) methodNamed(name []byte) *method {
	if c.tracks != nil {
		if m := c.tracks.methods[string(name)]; m != nil {
			return m
		}
	}
	m := newMethod(string(name))
	if c.server != nil && strings.HasPrefix(m.name, "/") { // else the name is malformed
		m.entry, m.known = c.server.table.Method(m.name)
	}
	if c.tracks != nil && m.known {
		c.tracks.methods[m.name] = m
	}
	return m
}
