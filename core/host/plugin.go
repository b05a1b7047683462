package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// Plugin is a handle on a running plugin. It is a [grpc.ClientConnInterface]: generated
// clients are made from it. Its methods are safe for concurrent use.
//
// A plugin ends once: when the host stops it, when its process ends, or when the host
// can no longer reach it. After that every call fails at once with codes.Unavailable
// and the reason, including calls in flight and calls that wait for readiness, and Done
// is closed. The server of another framework may end its connections while the process
// lives. The host then dials again, and only calls that cannot be made fail.
type Plugin struct {
	*config
	child   *child
	session *session.Session
	ends
	protocol *protocol.Protocol
	foreign  bool  // it speaks only go-plugin's part of the handshake
	drain    drain // of a foreign plugin
	info     Info
	goplugin *goPluginSide
	stuck    stuck

	step    atomic.Pointer[Step]   // the last step of a shutdown; nil before one
	whyLate atomic.Pointer[string] // why the plugin did not end when asked; nil if unknown

	quit        atomic.Bool           // it was told to print its stacks
	unreachable atomic.Pointer[error] // why the host could not ask a foreign plugin to stop

	done chan struct{} // closed when everything is over; err is set then
	err  error
}

var _ grpc.ClientConnInterface = (*Plugin)(nil)

// Info is what the two sides agreed on at the start.
type Info struct {
	// Protocol and Version are what the two sides speak.
	Protocol string
	Version  int
	// Transport is how the bytes travel, for example unix/1.
	Transport transport.ID
	// Skipped says, for people, why the plugin took none of the transports that both
	// have and the host prefers; empty if it took the first one.
	Skipped string
	// Session is how the two sides make streams: handshake.SessionDirect, SessionYamux or
	// SessionNative.
	Session string
	// Wire is how calls travel: handshake.WireH2, which is gRPC over HTTP/2.
	Wire string
	// Security is how each side knows the other: handshake.SecurityPeerCred,
	// SecurityMTLS, SecurityTLS or SecurityNone.
	Security string
	// PID is the number of the plugin's process, 0 if it has none.
	PID int
	// StartDuration is the time from Launch to the first possible call.
	StartDuration time.Duration
}

// Invoke makes a unary call. It is for generated code.
func (p *Plugin) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if p.foreign {
		return p.invokeForeign(ctx, method, args, reply, opts)
	}
	err := p.client.Invoke(ctx, method, args, reply, opts...)
	if err == nil {
		return nil
	}
	return p.stuck.explain(ctx, p.client.Plain(), method, err)
}

// NewStream begins a streaming call. It is for generated code.
func (p *Plugin) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if p.foreign {
		return p.newStreamForeign(ctx, desc, method, opts)
	}
	s, err := p.client.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &stuckStream{ClientStream: s, plugin: p, ctx: ctx, method: method}, nil
}

// Name returns the name by which this host tells the plugin from others ([WithName]).
func (p *Plugin) Name() string { return p.name }

// Protocol returns the version of the protocol that the two sides chose: one of the
// values given to [WithProtocols].
func (p *Plugin) Protocol() *protocol.Protocol { return p.protocol }

// Info returns what the two sides agreed on at the start.
func (p *Plugin) Info() Info { return p.info }

// Ping asks the plugin for its health and returns nil if it is serving.
func (p *Plugin) Ping(ctx context.Context) error {
	resp, err := healthpb.NewHealthClient(p.client).Check(ctx, &healthpb.HealthCheckRequest{Service: control.HealthService})
	if err != nil {
		return err
	}
	if state := resp.GetStatus(); state != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("plugin %s reports %v", p.child.label(), state)
	}
	return nil
}

// Done is closed when the plugin has ended and nothing of it is left: no process,
// socket, directory or goroutine. If files that the plugin left in its directory cannot
// be removed within a second, the host logs that, and a later start removes them.
func (p *Plugin) Done() <-chan struct{} { return p.done }

// Err returns nil while the plugin lives, and after the host stopped it in good order.
// Otherwise it returns an [*ExitError].
func (p *Plugin) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// exitAfterLoss is how long a process may take to end after its connection or its
// output ended. After that it counts as a process that lives on. The time also bounds
// how long a call waits to learn why it failed.
const exitAfterLoss = 500 * time.Millisecond

// lostGrace is how long a process may run on without its connection. A plugin that
// another process has told to stop takes as long by default.
const lostGrace = DefaultGrace

var (
	errLost   = errors.New("the connection to it was lost while it went on running, so it was killed")
	errClosed = fmt.Errorf("the plugin was stopped by its host: %w", net.ErrClosed)
)

// lostError is the reason for calls when a plugin runs on without its connection.
type lostError struct{ label string }

func (e *lostError) Error() string {
	return fmt.Sprintf("the connection to plugin %s was lost while it went on running", e.label)
}

// Is makes it a [net.ErrClosed]: no call reaches the plugin any more.
func (e *lostError) Is(target error) bool { return target == net.ErrClosed }

// supervise handles the end of the plugin, whatever the reason for it is.
func (p *Plugin) supervise() {
	defer close(p.done)
	var reason error
	select {
	case <-p.child.gone.Done():
	case <-p.client.Lost():
		if p.outlivesConnection() && p.step.CompareAndSwap(nil, new(Step)) {
			reason = errLost
			_ = p.child.kill() // an error means that the process is gone already
		}
		// A shutdown in progress bounds this wait, or else the kill above.
		<-p.child.gone.Done()
	}
	p.goplugin.Drain(drainTimeout, hurryTimeout)
	p.err = p.outcome(reason)
	end := p.child.named(errClosed)
	if p.err != nil {
		end = p.err
	}
	p.awaitLastAnswers()
	p.client.Fail(end)
	p.goplugin.Close(end)
	p.endSession()
	p.close()
	p.awaitHandlers()
	p.child.release()
	p.shown.End(p.err)
}

// awaitLastAnswers waits until the host has read what the plugin sent on its connection
// before it ended in good order: answers, and which calls it did not take. Without that,
// calls of a host under load failed, and nobody knew whether they had begun.
func (p *Plugin) awaitLastAnswers() {
	if p.err != nil || p.foreign { // the host dials a foreign plugin again, so it has no last connection
		return
	}
	patience := time.NewTimer(streamPatience)
	defer patience.Stop()
	select {
	case <-p.client.Lost():
	case <-patience.C: // another process holds the connection open
	}
}

// streamPatience bounds how long the host can read what the plugin wrote to streams, and to
// the connection for calls, before it ended in good order.
const streamPatience = time.Second

func (p *Plugin) endSession() {
	if p.err != nil {
		_ = p.session.Close() // the other end is gone
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), streamPatience)
	defer cancel()
	_ = p.session.Finish(ctx) // an error means that the other end is gone
}

// handlerPatience is how long the host's own handlers may take to return after their
// contexts have ended with the plugin.
const handlerPatience = time.Second

func (p *Plugin) awaitHandlers() {
	if p.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handlerPatience)
	defer cancel()
	if err := p.server.Drain(ctx); err != nil {
		p.child.logger.Warn("handlers given with host.WithServices ignore their context, which has ended with the plugin", "error", err)
	}
}

// outlivesConnection reports whether the process goes on running for too long after its
// connection ended. Calls fail before that. If another process than the host has told a
// plugin to stop, the plugin first takes no new calls. It may go on until the last call
// is answered.
func (p *Plugin) outlivesConnection() bool {
	if p.child.exitsAfterLoss() {
		return false
	}
	if p.step.Load() == nil && p.client.Broken() {
		p.client.Fail(&lostError{p.child.label()})
	}
	return !p.child.exitsWithin(lostGrace)
}

// outcome returns nil if the host asked the plugin to stop and it did.
func (p *Plugin) outcome(reason error) error {
	var step Step
	if s := p.step.Load(); s != nil {
		step = *s
	}
	if err := p.unreachable.Load(); err != nil {
		reason = errors.Join(reason, *err)
	}
	if p.quit.Load() {
		reason = errors.Join(reason, errQuit)
	}
	clean := reason == nil && p.child.waitErr == nil && p.child.status.clean()
	if clean && step == StepAsk {
		return nil
	}
	if p.foreign && step == stepTerminateForeign && reason == nil && !errors.Is(p.child.waitErr, errNotProven) {
		return nil
	}
	if why := p.whyLate.Load(); why != nil {
		reason = errors.Join(reason, errors.New(*why))
	}
	return p.child.exitError(step, reason)
}
