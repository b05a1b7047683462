package board

import (
	"context"
	"slices"
	"time"

	"github.com/plugwire/plugwire/core/internal/meter"
)

// Row is what the board tells about a plugin, over all its starts. A nil Row is on no
// board.
type Row struct {
	meter meter.Meter

	// The mutex of the board guards the fields below.
	number      int // 0 while it is not on the board
	name        string
	held        bool               // a handle keeps it in use
	closed      bool               // the handle has ended
	supervision func() Supervision // nil for a plugin that nobody supervises
	runs        []*Run             // the starts that are not over, the oldest first
	current     *Run               // the last one that became ready; it may be over
	starts      int                // how many became ready
	restarts    int                // how many of them when no other one was
	lines       ring
	early       [][]byte // lines from when it is not on the board
}

// Supervision is what package supervise knows about a plugin.
type Supervision struct {
	State   string
	Since   time.Time
	Attempt int       // restarts in a row
	Next    time.Time // when the next start begins; zero if none is due
	Err     error     // how the last plugin ended or why the last start failed
}

// NewRow returns a row that lasts until it is closed. It is on the board from the first
// start of a plugin that has the option.
func NewRow() *Row { return new(Row) }

// Supervise sets what tells the state of the plugin. The function is called when the board
// is read.
func (r *Row) Supervise(supervision func() Supervision) {
	process.mu.Lock()
	defer process.mu.Unlock()
	r.supervision = supervision
}

// Close ends the use of the row by its handle. The plugins of the row have ended.
func (r *Row) Close() {
	process.mu.Lock()
	held := r.held
	r.held, r.closed = false, true
	last := held && !r.used()
	process.mu.Unlock()
	if last {
		process.leave()
	}
}

// used reports whether the row is in use. The caller holds the mutex of the board.
func (r *Row) used() bool { return r.held || len(r.runs) > 0 }

// rowKey is the key under which a context has the row of a start.
type rowKey struct{}

// WithRow returns a context for the start of a plugin of the row.
func (r *Row) WithRow(ctx context.Context) context.Context {
	return context.WithValue(ctx, rowKey{}, r)
}

// Run is one start of a plugin. Its methods may be called on nil, which is on no board.
type Run struct {
	row *Row

	// The mutex of the board guards the fields below.
	state  string
	since  time.Time
	pid    int
	info   Info
	over   bool
	reason string // how it ended, or why it did not start
}

// The states of a start. A plugin that is supervised has the phases of package supervise.
const (
	stateStarting = "starting"
	stateReady    = "ready"
	stateStopping = "stopping"
	stateEnded    = "ended"
)

// Info is what was agreed on at the start.
type Info struct {
	Protocol  string `json:"protocol"`
	Version   int    `json:"version"`
	Transport string `json:"transport"`
	Session   string `json:"session"`
	Wire      string `json:"wire"`
	Security  string `json:"security"`
}

// Begin begins a start of the plugin name: in the row that ctx has, or in that of a plugin
// of this name that has ended, or in a new one. warn gets the reason if nobody can read the
// board.
func Begin(ctx context.Context, name string, warn func(error)) *Run {
	run := &Run{state: stateStarting, since: time.Now()}
	process.mu.Lock()
	row, supervised := ctx.Value(rowKey{}).(*Row)
	if supervised = supervised && row.isFor(name); !supervised {
		if row = process.again(name); row == nil {
			row = NewRow()
		}
	}
	first := !row.used()
	run.row, row.name = row, name
	row.held = row.held || supervised
	row.runs = append(row.runs, run)
	process.mu.Unlock()
	if first {
		process.enter(row, warn)
	}
	return run
}

// isFor reports whether the row is for a plugin of that name. A launch function may start
// others too. The caller holds the mutex of the board.
func (r *Row) isFor(name string) bool { return !r.closed && (r.name == "" || r.name == name) }

// Meter counts the calls of the plugin.
func (r *Run) Meter() *meter.Meter {
	if r == nil {
		return nil
	}
	return &r.row.meter
}

// change changes the run, unless it is over.
func (r *Run) change(change func()) {
	if r == nil {
		return
	}
	process.mu.Lock()
	defer process.mu.Unlock()
	if !r.over {
		change()
	}
}

func (r *Run) become(state string) { r.state, r.since = state, time.Now() }

// Started tells that the process runs. pid is its number on this machine, 0 if it has none.
func (r *Run) Started(pid int) { r.change(func() { r.pid = pid }) }

// Ready tells that the plugin takes calls.
func (r *Run) Ready(info Info) {
	r.change(func() {
		row := r.row
		if last := row.current; row.starts > 0 && (last == nil || last.over) {
			row.restarts++
		}
		row.starts++
		row.current = r
		r.info = info
		r.become(stateReady)
	})
}

// Stopping tells that the host stops the plugin.
func (r *Run) Stopping() {
	r.change(func() {
		if r.state != stateStopping {
			r.become(stateStopping)
		}
	})
}

// End tells how the plugin ended, or why it did not start: nil for an end in good order.
// Only the first call counts.
func (r *Run) End(err error) {
	last, reason := false, reasonOf(err)
	r.change(func() {
		r.become(stateEnded)
		r.over, r.pid, r.reason = true, 0, reason
		row := r.row
		row.runs = slices.DeleteFunc(row.runs, func(other *Run) bool { return other == r })
		if row.current == nil || row.current.over {
			row.current = r // the last that is known
		}
		last = !row.used()
	})
	if last {
		process.leave()
	}
}

// maxReason bounds the bytes of an error on the board. Errors have the last lines of a
// plugin, which are in its log too.
const maxReason = 4 << 10

// reasonOf returns the text of an error. Call it without the mutex of the board: the error
// may be of a type of the program's own, and its method may log.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return cut(err.Error(), maxReason)
}

// Plugin is a row of the board as readers get it.
type Plugin struct {
	ID         int        `json:"id"`
	Name       string     `json:"name"`
	State      string     `json:"state"`
	Since      time.Time  `json:"since"`
	PID        int        `json:"pid,omitempty"`
	Supervised bool       `json:"supervised"`
	Starts     int        `json:"starts"`
	Restarts   int        `json:"restarts"`
	Attempt    int        `json:"attempt,omitempty"`
	Next       *time.Time `json:"next,omitempty"`
	Error      string     `json:"error,omitempty"`
	Info       *Info      `json:"info,omitempty"`
	Calls      Calls      `json:"calls"`
}

// Calls are the counts of calls that a reader gets.
type Calls struct {
	Begun     uint64            `json:"begun"`
	Ended     uint64            `json:"ended"`
	Errors    map[string]uint64 `json:"errors"`
	Durations [][2]uint64       `json:"durations"` // the bound of a bucket in nanoseconds, and its calls
}

// snapshot returns what readers get, without what package supervise knows. The caller holds
// the mutex of the board.
func (r *Row) snapshot() Plugin {
	p := Plugin{ID: r.number, Name: r.name, Starts: r.starts, Restarts: r.restarts, Supervised: r.supervision != nil, Calls: countsOf(&r.meter)}
	shown := r.current
	if n := len(r.runs); n > 0 && (shown == nil || shown.over) {
		shown = r.runs[n-1]
	}
	if shown != nil {
		p.State, p.Since, p.PID, p.Error = shown.state, shown.since, shown.pid, shown.reason
		if shown.info != (Info{}) {
			info := shown.info
			p.Info = &info
		}
	}
	return p
}

// supervise fills in what package supervise knows.
func (p *Plugin) supervise(s Supervision) {
	p.State, p.Since, p.Attempt, p.Error = s.State, s.Since, s.Attempt, reasonOf(s.Err)
	if !s.Next.IsZero() {
		p.Next = &s.Next
	}
}

func countsOf(m *meter.Meter) Calls {
	counts := m.Counts()
	c := Calls{Begun: counts.Begun, Ended: counts.Ended, Errors: counts.Errors, Durations: make([][2]uint64, 0, len(counts.Durations))}
	if c.Errors == nil {
		c.Errors = map[string]uint64{}
	}
	for _, b := range counts.Durations {
		c.Durations = append(c.Durations, [2]uint64{uint64(b.Below), b.Calls}) //nolint:gosec // a bound is positive
	}
	return c
}
