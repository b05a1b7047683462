package supervise

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/plugwire/plugwire/core/host"
)

// Kind is what an event tells.
type Kind string

// The kinds of events.
const (
	KindStarting    Kind = "starting"     // a plugin is being started; Attempt counts restarts in a row; it is 1 for the first start of a member, and 0 for a swap
	KindReady       Kind = "ready"        // Plugin takes calls
	KindStartFailed Kind = "start failed" // Err says why; a swap that fails has this too
	KindUnhealthy   Kind = "unhealthy"    // Err is an *UnhealthyError; Plugin is being stopped
	KindExited      Kind = "exited"       // Err is a *host.ExitError, nil after an end in good order
	KindRestarting  Kind = "restarting"   // the next start is in Delay; Attempt counts restarts in a row
	KindGaveUp      Kind = "gave up"      // Err says why; the next start is in Delay, if that is not 0
	KindSwapped     Kind = "swapped"      // Plugin has replaced the last one, which is draining
	KindRetired     Kind = "retired"      // a plugin that was replaced has ended; Err as for KindExited
	KindRolledBack  Kind = "rolled back"  // the launch function from before the last swap is used again
	KindIdle        Kind = "idle"         // nobody has called Plugin for a while: it is being stopped
	KindClosed      Kind = "closed"       // the handle is closed

	// The kinds of a Watcher.
	KindChanged     Kind = "changed"      // Path was written: the program, or one of its sources
	KindBuilding    Kind = "building"     // the build command runs
	KindBuilt       Kind = "built"        // the build command has succeeded
	KindBuildFailed Kind = "build failed" // Err says why, most often a *BuildError
	KindRefused     Kind = "refused"      // the program at Path was not swapped in; Err says why
)

// Event is something that happened to a handle. It may get more fields.
type Event struct {
	Kind Kind
	// Name is the plugin's.
	Name string
	Time time.Time
	// Attempt, Delay, Err and Plugin are set as the kind says.
	Attempt int
	Delay   time.Duration
	Err     error
	Plugin  *host.Plugin
	// Path is set by a [Watcher], as the kind says.
	Path string
}

// tell logs an event and gives it to the listener.
func (h *Handle) tell(e Event) {
	e.Name, e.Time = h.name, time.Now()
	q := queuedEvent{e, h.target.Load().plan}
	h.log.add(q)
	h.events.add(q)
}

// level returns the level of the event's record.
func (e Event) level() slog.Level {
	switch e.Kind {
	case KindGaveUp:
		return slog.LevelError
	case KindUnhealthy, KindStartFailed, KindRolledBack, KindRestarting, KindBuildFailed, KindRefused:
		return slog.LevelWarn
	case KindExited, KindRetired:
		if e.Err != nil {
			return slog.LevelWarn
		}
	default:
	}
	return slog.LevelInfo
}

// record logs an event.
func (h *Handle) record(e queuedEvent) {
	attrs := []slog.Attr{slog.String("plugin", e.Name)}
	if e.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", e.Attempt))
	}
	if e.Delay > 0 {
		attrs = append(attrs, slog.Duration("delay", e.Delay))
	}
	if e.Path != "" {
		attrs = append(attrs, slog.String("path", e.Path))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	message := "supervised plugin: " + string(e.Kind)
	e.plan.logger.LogAttrs(context.Background(), e.level(), message, attrs...) //nolint:sloglint // a Kind is a constant
	h.row.Log(e.level(), e.Name, message, attrs[1:]...)                        // without the name
}

// listen gives an event to the listeners.
func listen(e queuedEvent) {
	for _, listener := range e.plan.listeners {
		listener(e.Event)
	}
}

// queuedEvent is an event with the plan of its time, which has the logger and the listeners. A
// later plan may have others.
type queuedEvent struct {
	Event
	plan *plan
}

// queue hands events over, one at a time and in their order, and holds nobody up. It has a
// goroutine only while it has events. Events are few: each start makes some, and the
// policy delays starts.
type queue struct {
	handle func(queuedEvent)

	mu      sync.Mutex // guards the fields below
	waiting []queuedEvent
	busy    bool // a goroutine hands events over
}

func (q *queue) add(e queuedEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, e)
	if !q.busy {
		q.busy = true
		go q.run()
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		e := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		q.handle(e)
	}
}
