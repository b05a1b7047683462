package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/process"
)

// attached is a [Process] that this host has not started. It has ended when the
// process has, or when this host has let it go.
type attached struct {
	pid     int
	started string         // when, empty if nobody says
	stays   bool           // it is not this host's to end
	other   *process.Other // nil: there is no such process, or it cannot be held on to

	tasks sync.WaitGroup // what watches it
	over  chan struct{}  // closed when it has ended; err is set then
	err   error

	mu    sync.Mutex // guards what follows
	known bool       // other is proven to be the plugin
	taken bool       // this host has attached to it, and did not only try
	asked bool       // to end
	ended bool       // over is closed
}

// newAttached looks for the process now, before the plugin is dialed: what the
// kernel tells of the other end is then about a process that is held already.
func newAttached(info handshake.AttachInfo) *attached {
	a := &attached{pid: info.PID, started: info.Started, stays: info.Stays, over: make(chan struct{})}
	if other, err := process.OpenOther(info.PID); err == nil {
		a.other = other
	} // else the connection is all that is known of the plugin
	return a
}

// isProven reports whether the process that is held is the plugin's. peer is the
// one that the kernel names as the other end of the connection, 0 if it names none.
func (a *attached) isProven(peer int) bool {
	switch {
	case a.other == nil:
		return false
	case a.started == "":
		return peer != 0 && peer == a.pid
	default:
		// Processes that start together may have one time.
		return a.started == a.other.Started() && (peer == 0 || peer == a.pid)
	}
}

// take makes the process this host's, as far as it is that. peer is as for
// isProven, and lost is closed when the connection is. It reports whether the
// process is known.
func (a *attached) take(peer int, lost <-chan struct{}) (known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = true
	if a.ended {
		return false
	}
	a.known = a.isProven(peer)
	if a.known {
		a.tasks.Go(func() {
			if a.other.Wait() == nil {
				a.end(nil)
			} // else it was let go
		})
	}
	a.tasks.Go(func() {
		select {
		case <-lost:
			a.connectionLost()
		case <-a.over:
		}
	})
	return a.known
}

var errConnectionLost = errors.New("the connection to it was lost")

// connectionLost ends what cannot be ended otherwise.
func (a *attached) connectionLost() {
	a.mu.Lock()
	known, asked := a.known, a.asked
	a.mu.Unlock()
	switch {
	case a.mayEnd():
		// As for any process, whoever supervises it does.
	case known && closesWithin(a.over, exitAfterLoss):
		// That it has ended says more.
	case asked:
		a.end(nil) // as it was to be
	default:
		a.end(errConnectionLost)
	}
}

// end is the end, with the first reason that is given.
func (a *attached) end(reason error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.ended, a.err = true, reason
	close(a.over)
	if a.other != nil {
		_ = a.other.Close() // nothing was written
	}
}

// mayEnd reports whether the process may be sent signals.
func (a *attached) mayEnd() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known && a.taken && !a.stays
}

// willBeAsked makes the end of the connection one that is wanted: the plugin is asked
// to end, or let go.
func (a *attached) willBeAsked() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = true
}

// ID implements [Process].
func (a *attached) ID() string { return strconv.Itoa(a.pid) }

// localPID is for [child.localProcessID].
func (a *attached) localPID() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		return 0
	}
	return a.pid
}

// Output implements [Process]. What the plugin prints goes where it went before.
func (a *attached) Output() (stdout, stderr io.ReadCloser) {
	return io.NopCloser(strings.NewReader("")), io.NopCloser(strings.NewReader(""))
}

// Wait implements [Process].
func (a *attached) Wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-a.over:
	case <-ctx.Done():
		return ExitStatus{}, context.Cause(ctx)
	}
	a.tasks.Wait()
	return ExitStatus{Unknown: true}, a.err
}

// Terminate implements [Process].
func (a *attached) Terminate(context.Context) error {
	if !a.mayEnd() {
		return errors.ErrUnsupported
	}
	return a.other.Terminate()
}

// Kill implements [Process]. What may not be killed is let go.
func (a *attached) Kill(context.Context) error {
	if !a.mayEnd() {
		a.end(nil)
		return nil
	}
	return a.other.Kill()
}

var errNotProven = errors.New("it goes on, and nothing proves that the process of this number is the plugin, so it was sent no signal: end it by hand")

// errLetGo is the reason of calls to a plugin that goes on without this host.
var errLetGo = fmt.Errorf("this host has closed its connections to the plugin: %w", net.ErrClosed)

// leave is Shutdown of a plugin that this host may not end by force: one that
// stays is let go, any other is asked to end and let go when ctx ends.
func (p *Plugin) leave(ctx context.Context, a *attached) error {
	if a.stays {
		if step := StepAsk; !p.child.hasExited() {
			p.step.CompareAndSwap(nil, &step) // an end that is wanted
		}
		a.willBeAsked() // the connection ends, as it is to
		p.client.Fail(p.child.named(errLetGo))
		a.end(nil)
	} else if a.willBeAsked(); !p.ask(ctx) || !p.endsBy(ctx) {
		a.end(errNotProven)
	}
	<-p.done // it comes in bounded time
	return p.err
}
