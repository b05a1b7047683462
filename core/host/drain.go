package host

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// drain counts the calls to a foreign plugin, so that they can end before the host asks the
// plugin to stop. A server on go-plugin ends its calls in flight as soon as it is asked.
// Without the count, a swap under load failed these calls. A plugin on Plugwire drains by
// itself, and no call to it is counted here.
type drain struct{ gate calls.Gate }

// wait refuses new calls, and waits until those in flight have ended, until the process has
// ended, or until a share of the time to the end of ctx is over. The share is about the one
// that a plugin on Plugwire has. ctx has a deadline.
func (d *drain) wait(ctx context.Context, exited <-chan struct{}) {
	deadline, _ := ctx.Deadline()
	patience := time.NewTimer(time.Until(deadline) * 2 / 3)
	defer patience.Stop()
	select {
	case <-d.gate.Close():
	case <-exited:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// newStream opens a stream that has entered the gate. The stream leaves the gate when it
// ends.
func (d *drain) newStream(ctx context.Context, conn grpc.ClientConnInterface, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	s, err := conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		d.gate.Leave()
		return nil, err
	}
	leave := sync.OnceFunc(d.gate.Leave)
	stop := context.AfterFunc(ctx, leave) // grpc demands that a caller ends the context of a stream that it does not read to the end
	return &drainedStream{ClientStream: s, answers: desc.ServerStreams, leave: func() { stop(); leave() }}, nil
}

// drainedStream is a stream that is counted.
type drainedStream struct {
	grpc.ClientStream
	answers bool // the stream has many answers
	leave   func()
}

// RecvMsg implements [grpc.ClientStream].
func (s *drainedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil || !s.answers {
		s.leave()
	}
	return err
}

// enter counts a call. The call leaves the gate when it ends. The error is that of a call
// that was not sent, because the host stops the plugin.
func (p *Plugin) enter() error {
	if p.drain.gate.Enter() == calls.Entered {
		return nil
	}
	select {
	case <-p.done:
		reason := p.err
		if reason == nil {
			reason = p.child.named(errClosed)
		}
		return calls.Unsent(calls.LostError(nil, reason))
	default:
		return NotSent("plugin " + p.child.label() + " is shutting down and takes no new calls").Err()
	}
}

func (p *Plugin) invokeForeign(ctx context.Context, method string, args, reply any, opts []grpc.CallOption) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.drain.gate.Leave()
	return p.client.Invoke(ctx, method, args, reply, opts...)
}

func (p *Plugin) newStreamForeign(ctx context.Context, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	return p.drain.newStream(ctx, p.client, desc, method, opts)
}

// drainedConn is a brokered connection. While the plugin drains, its calls are not refused:
// a call in flight may need them.
type drainedConn struct {
	broker.Conn
	drain *drain
}

// Invoke implements [grpc.ClientConnInterface].
func (c *drainedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if c.drain.gate.Enter() == calls.Entered {
		defer c.drain.gate.Leave()
	}
	return c.Conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *drainedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if c.drain.gate.Enter() != calls.Entered {
		return c.Conn.NewStream(ctx, desc, method, opts...)
	}
	return c.drain.newStream(ctx, c.Conn, desc, method, opts)
}
