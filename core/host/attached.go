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

// attachedProcess is a [Process] that this host has not started. It counts as ended
// when the process has ended, or when this host has given it up.
type attachedProcess struct {
	pid     int
	started string         // the time of its start, empty if it is not known
	stays   bool           // this host may not end it
	other   *process.Other // nil if there is no such process, or no handle on it

	tasks sync.WaitGroup // goroutines that watch the process
	over  chan struct{}  // closed when the process has ended; err is set then
	err   error

	mu    sync.Mutex // guards what follows
	known bool       // other is certainly the plugin
	taken bool       // this host has attached to the plugin, and not only tried to
	asked bool       // the host has asked the plugin to end, or gives it up
	ended bool       // over is closed
}

// newAttached opens the process before the host dials the plugin. So what the kernel
// says about the other end of the connection is about a process that this host holds
// already.
func newAttached(info handshake.AttachInfo) *attachedProcess {
	a := &attachedProcess{pid: info.PID, started: info.Started, stays: info.Stays, over: make(chan struct{})}
	if other, err := process.OpenOther(info.PID); err == nil {
		a.other = other
	} // else only the connection tells whether the plugin lives
	return a
}

// isProven reports whether the process is certainly the plugin's. peer is the process
// that the kernel names for the other end of the connection, 0 if it names none.
func (a *attachedProcess) isProven(peer int) bool {
	switch {
	case a.other == nil:
		return false
	case a.started == "":
		return peer != 0 && peer == a.pid
	default:
		// Processes that start together may have the same time.
		return a.started == a.other.Started() && (peer == 0 || peer == a.pid)
	}
}

// take lets this host stop the process, if the process is proven to be the plugin's,
// and watches it. peer is as for isProven, and lost is closed when the connection is
// lost. It reports whether the process is known.
func (a *attachedProcess) take(peer int, lost <-chan struct{}) (known bool) {
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
			} // else this host has given it up
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

// connectionLost ends a process that this host cannot end otherwise.
func (a *attachedProcess) connectionLost() {
	a.mu.Lock()
	known, asked := a.known, a.asked
	a.mu.Unlock()
	switch {
	case a.mayEnd():
		// Plugin.supervise ends it, as any process.
	case known && closesWithin(a.over, exitAfterLoss):
		// The end of the process says more than the loss.
	case asked:
		a.end(nil) // the host has asked for that
	default:
		a.end(errConnectionLost)
	}
}

// end marks the process as ended, with the first reason that is given.
func (a *attachedProcess) end(reason error) {
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

// mayEnd reports whether this host may send signals to the process.
func (a *attachedProcess) mayEnd() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known && a.taken && !a.stays
}

// willBeAsked makes the end of the connection a wanted one: the host is about to ask
// the plugin to end, or to give it up.
func (a *attachedProcess) willBeAsked() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = true
}

// ID implements [Process].
func (a *attachedProcess) ID() string { return strconv.Itoa(a.pid) }

// localPID implements [localNumber].
func (a *attachedProcess) localPID() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		return 0
	}
	return a.pid
}

// Output implements [Process]. The plugin's output stays where it goes.
func (a *attachedProcess) Output() (stdout, stderr io.ReadCloser) {
	return io.NopCloser(strings.NewReader("")), io.NopCloser(strings.NewReader(""))
}

// Wait implements [Process].
func (a *attachedProcess) Wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-a.over:
	case <-ctx.Done():
		return ExitStatus{}, context.Cause(ctx)
	}
	a.tasks.Wait()
	return ExitStatus{Unknown: true}, a.err
}

// Terminate implements [Process].
func (a *attachedProcess) Terminate(context.Context) error {
	if !a.mayEnd() {
		return errors.ErrUnsupported
	}
	return a.other.Terminate()
}

// Kill implements [Process]. It gives up a process that this host may not kill.
func (a *attachedProcess) Kill(context.Context) error {
	if !a.mayEnd() {
		a.end(nil)
		return nil
	}
	return a.other.Kill()
}

var errNotProven = errors.New("it goes on, and nothing proves that the process of this number is the plugin, so the host sent no signal: end the plugin by hand")

// errLetGo is the reason for calls to a plugin that this host has given up.
var errLetGo = fmt.Errorf("this host has closed its connections to the plugin: %w", net.ErrClosed)

// leave is Shutdown for a plugin that this host may not end by force. It gives up a
// plugin that stays. It asks any other plugin to end, and gives it up when ctx ends.
func (p *Plugin) leave(ctx context.Context, a *attachedProcess) error {
	if a.stays {
		if step := StepAsk; !p.child.hasExited() {
			p.step.CompareAndSwap(nil, &step) // a wanted end
		}
		a.willBeAsked()
		p.client.Fail(p.child.named(errLetGo))
		a.end(nil)
	} else if a.willBeAsked(); !p.ask(ctx) || !p.endsBy(ctx) {
		a.end(errNotProven)
	}
	<-p.done // supervise bounds it
	return p.err
}
