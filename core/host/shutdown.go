package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/control"
)

// Step is a step of a shutdown.
type Step string

// The steps of a shutdown, in their order. The host takes a step only if the plugin did
// not end by the one before.
const (
	StepAsk       Step = "ask"       // ask the plugin to drain and to end
	StepTerminate Step = "terminate" // send its process group SIGTERM
	StepKill      Step = "kill"      // send its process group SIGKILL
)

// stepTerminateForeign is StepTerminate for a plugin that cannot be asked.
const stepTerminateForeign Step = "terminate, as it cannot be asked"

// terminateTimeout is how long a process group may take to end after SIGTERM,
// once its grace is over.
const terminateTimeout = time.Second

// Close stops the plugin with a grace of [DefaultGrace], as [Plugin.Shutdown]
// does. It is idempotent.
func (p *Plugin) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultGrace)
	defer cancel()
	return p.Shutdown(ctx)
}

// Shutdown stops the plugin. It asks the plugin to finish its calls in flight and to
// end. If the plugin has not ended when ctx ends, its process group is sent SIGTERM,
// and a second later SIGKILL. Without a deadline the context ends after [DefaultGrace].
//
// A plugin on go-plugin ends its calls as soon as it is asked. So the host refuses new
// calls itself, and asks when those in flight have ended, or when two thirds of the time
// are over. Calls on [Plugin.ClientConn] are not counted.
//
// Shutdown returns nil if the plugin ended in good order because it was asked to, now
// or earlier. Otherwise it returns an [*ExitError], whose Step says what was necessary.
// When it returns, nothing of the plugin is left. The exception is a process that the
// system itself cannot end, which the error names. Any number of goroutines may call
// Shutdown, as often as they like: the shortest grace counts.
func (p *Plugin) Shutdown(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultGrace)
		defer cancel()
	}
	if a, ok := p.child.Process.(*attachedProcess); ok && !a.mayEnd() {
		return p.leave(ctx, a)
	}
	if p.ask(ctx) && p.endsBy(ctx) {
		return p.err
	}
	if why := p.child.whyStopped(); why != "" {
		p.whyLate.Store(&why)
	}
	if p.terminate() && p.endsWithin(terminateTimeout) {
		return p.err
	}
	p.take(StepKill)
	err := p.child.kill()
	if p.child.exitsWithin(killTimeout) {
		<-p.done // supervise bounds it
		return p.err
	}
	if p.child.hasExited() {
		return fmt.Errorf("plugin %s has ended, but its resources in the host are not released after %v", p.child.label(), killTimeout)
	}
	return fmt.Errorf("plugin %s is still there %v after it was killed: %w", p.child.label(), killTimeout, errors.Join(err, errStuck))
}

var errStuck = errors.New("the system does not end it")

// take records a step, unless the plugin has ended without it.
func (p *Plugin) take(step Step) {
	if p.child.hasExited() {
		return
	}
	p.step.Store(&step)
	p.shown.Stopping()
	p.trace.stopping(step)
}

// ask reports whether it is worth waiting for the plugin to end.
func (p *Plugin) ask(ctx context.Context) bool {
	if step := StepAsk; !p.child.hasExited() && p.step.CompareAndSwap(nil, &step) {
		p.shown.Stopping()
		p.trace.stopping(step)
	}
	if p.foreign {
		p.drain.wait(ctx, p.child.gone.Done())
		if err := p.reach(ctx); err != nil {
			return p.terminateUnasked(fmt.Errorf("it could not be asked to stop: %w", err))
		}
	}
	deadline, _ := ctx.Deadline()
	// The last tenth is for the exit of the process. Without it, a plugin that used all of
	// its grace would be ended by force.
	grace := time.Until(deadline) * 9 / 10
	err := p.requestStop(ctx, grace)
	if p.foreign && status.Code(err) == codes.Unimplemented {
		return p.terminateUnasked(nil)
	}
	// Any other error means that the plugin has ended, is ending, or is stuck. Waiting tells
	// which.
	return true
}

// requestStop asks the plugin to drain within grace and to exit. go-plugin's request has no
// grace.
func (p *Plugin) requestStop(ctx context.Context, grace time.Duration) error {
	if p.foreign {
		return p.goplugin.Shutdown(ctx)
	}
	return control.Shutdown(ctx, p.client, grace)
}

// reachTimeout bounds how long a stop waits for a connection to a foreign plugin whose
// server has ended the last connection. A plugin that does not answer within this time
// is stuck.
const reachTimeout = 2 * time.Second

var errMute = fmt.Errorf("its server has ended the connection, and does not answer on a new one within %v", reachTimeout)

// reach returns why the host cannot ask a foreign plugin to stop. It returns nil if the
// host can, or if the plugin is ending.
func (p *Plugin) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, errMute)
	defer cancel()
	err := p.client.Reach(ctx)
	if err == nil || p.child.exitsWithin(exitAfterLoss) {
		return nil
	}
	return err
}

// terminateUnasked sends SIGTERM to a foreign plugin that the host cannot ask to stop.
// reason is nil if the plugin has no service for that.
func (p *Plugin) terminateUnasked(reason error) bool {
	if reason != nil {
		p.unreachable.CompareAndSwap(nil, &reason)
	}
	p.take(stepTerminateForeign)
	return p.child.terminate() == nil
}

func (p *Plugin) terminate() bool {
	p.take(StepTerminate)
	return p.child.terminate() == nil
}

func (p *Plugin) endsBy(ctx context.Context) bool {
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Plugin) endsWithin(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.endsBy(ctx)
}
