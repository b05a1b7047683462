package supervise

import (
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/board"
)

// Phase is what a handle is doing.
type Phase string

// The phases. Every phase except PhaseReady is a gap: no plugin takes calls.
const (
	PhaseIdle     Phase = "idle"     // of a member of a Group: the next call starts a plugin
	PhaseReady    Phase = "ready"    // a plugin takes calls
	PhaseStopping Phase = "stopping" // a plugin that is unhealthy is being stopped
	PhaseWaiting  Phase = "waiting"  // until the next start
	PhaseStarting Phase = "starting" // a plugin is being started
	PhaseDown     Phase = "down"     // nothing is started, for a while or until Restart
	PhaseClosed   Phase = "closed"   // for good
)

// State is a snapshot of a handle, for a status page.
type State struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Starts is how many plugins have taken calls, the first one included.
	Starts int
	// Attempt counts restarts in a row; 0 after a stable life.
	Attempt int
	// Next is when the next start begins. It is zero if a start is not due.
	Next time.Time
	// Err is how the last plugin ended or why the last start failed, and nil before.
	Err error
	// Plugin takes calls now. It is nil in a gap.
	Plugin *host.Plugin
}

// State returns what the handle is doing now.
func (h *Handle) State() State { return h.target.Load().state }

// supervision is the state for the board (host.WithStatus).
func (h *Handle) supervision() board.Supervision {
	s := h.State()
	return board.Supervision{State: string(s.Phase), Since: s.Since, Attempt: s.Attempt, Next: s.Next, Err: s.Err}
}

// target is where calls go. It never changes: the machine replaces it.
type target struct {
	plugin   instance // nil in a gap
	plan     *plan
	state    State
	wakes    bool          // a call waits for the plugin that it starts, whatever the options say
	replaced chan struct{} // closed when the handle has another target
}

// mayWait reports whether another plugin will come by itself, and soon.
func (t *target) mayWait() bool {
	return t.state.Phase != PhaseDown && t.state.Phase != PhaseClosed
}

// UnavailableError is the error of a call that no plugin could take. Its status is
// codes.Unavailable, [host.NotBegun] reports true for it, and it unwraps to why the last
// plugin ended.
type UnavailableError struct {
	// Name is the plugin's.
	Name string
	// State is the handle's when the call failed.
	State State
}

// Error says what the handle is doing, and why the last plugin ended.
func (e *UnavailableError) Error() string {
	s := e.State
	text := "plugin " + e.Name
	switch s.Phase {
	case PhaseIdle:
		return text + " is idle and is being started"
	case PhaseReady:
		text += " is ending"
	case PhaseStopping:
		text += " is unhealthy and is being replaced"
	case PhaseWaiting:
		text += fmt.Sprintf(" is restarting (attempt %d, next start in %v)", s.Attempt, untilNext(s))
	case PhaseStarting:
		if s.Err == nil {
			return text + " is being started"
		}
		text += fmt.Sprintf(" is restarting (attempt %d, starting now)", s.Attempt)
	case PhaseDown:
		text += " is down"
		if !s.Next.IsZero() {
			text += fmt.Sprintf(" (next start in %v)", untilNext(s))
		} else {
			text += " until it is restarted"
		}
	case PhaseClosed:
		return text + " takes no calls: " + errClosed.Error()
	}
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

func untilNext(s State) time.Duration {
	return max(0, time.Until(s.Next)).Round(time.Millisecond)
}

// Unwrap returns why the last plugin ended. For a closed handle it is a net.ErrClosed.
func (e *UnavailableError) Unwrap() error {
	if e.State.Phase == PhaseClosed {
		return errClosed
	}
	return e.State.Err
}

// GRPCStatus makes status.FromError and status.Code work.
func (e *UnavailableError) GRPCStatus() *status.Status {
	return host.NotSent(e.Error())
}
