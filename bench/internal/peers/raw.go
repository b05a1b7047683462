package peers

import (
	"context"
	"errors"
	"sync"

	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/rawproto"
)

func raw() []*Peer {
	return []*Peer{
		{Name: Raw, Plugin: "raw", Note: "frames over unix sockets, one for each caller; no protobuf", start: startRaw("unix")},
		{Name: "raw-tcp", Plugin: "raw", Note: "the same over tcp, without TLS", start: startRaw("tcp")},
	}
}

func startRaw(network string) func(context.Context, place) (*Session, error) {
	return func(_ context.Context, at place) (*Session, error) {
		process, err := launch.Start(at.command(), network)
		if err != nil {
			return nil, err
		}
		r := &rawClient{process: process}
		return &Session{
			PID:          process.PID(),
			Unary:        r.unary,
			Mixed:        r.call(rawproto.Mixed),
			Callback:     r.callback,
			ServerStream: r.serverStream,
			ClientStream: r.clientStream,
			Bidi:         r.bidi,
			Close:        r.close,
		}, nil
	}
}

// rawClient has a connection for each concurrent caller.
type rawClient struct {
	process *launch.Process

	mu   sync.Mutex
	idle []*rawproto.Conn // guarded by mu
}

// with calls f with a connection that no other call uses. After an error the connection
// is not used again.
func (r *rawClient) with(ctx context.Context, f func(*rawproto.Conn) error) error {
	c, err := r.take(ctx)
	if err != nil {
		return err
	}
	if err := f(c); err != nil {
		return errors.Join(err, c.Close())
	}
	r.give(c)
	return nil
}

func (r *rawClient) take(ctx context.Context) (*rawproto.Conn, error) {
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	nc, err := r.process.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return rawproto.New(nc), nil
}

func (r *rawClient) give(c *rawproto.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, c)
}

func (r *rawClient) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, r.process.Close())...)
}

func (r *rawClient) unary(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	switch {
	case p.GetWaitMicros() > 0:
		return r.exchange(ctx, rawproto.Header{Op: rawproto.Wait, B: p.GetWaitMicros()}, p)
	case p.GetComputeMicros() > 0:
		return r.exchange(ctx, rawproto.Header{Op: rawproto.Compute, B: p.GetComputeMicros()}, p)
	default:
		return r.exchange(ctx, rawproto.Header{Op: rawproto.Unary}, p)
	}
}

func (r *rawClient) call(op byte) func(context.Context, *messages.Payload) (*messages.Payload, error) {
	return func(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
		return r.exchange(ctx, rawproto.Header{Op: op}, p)
	}
}

// exchange returns the request with the length of the answer. The answer's bytes belong
// to the connection.
func (r *rawClient) exchange(ctx context.Context, h rawproto.Header, p *messages.Payload) (*messages.Payload, error) {
	err := r.with(ctx, func(c *rawproto.Conn) error { return roundTrip(c, h, p.GetData()) })
	return p, err
}

var errSize = errors.New("the answer has another length than the request")

func roundTrip(c *rawproto.Conn, h rawproto.Header, data []byte) error {
	if err := errors.Join(c.WriteHeader(h), c.WriteFrame(data), c.Flush()); err != nil {
		return err
	}
	answer, err := c.ReadFrame()
	if err == nil && len(answer) != len(data) {
		err = errSize
	}
	return err
}

func (r *rawClient) callback(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
	return p, r.with(ctx, func(c *rawproto.Conn) error {
		if err := roundTrip(c, rawproto.Header{Op: rawproto.Callback}, p.GetData()); err != nil {
			return err
		}
		// What the plugin has sent is its call. Answer it, and read the final answer.
		if err := errors.Join(c.WriteFrame(p.GetData()), c.Flush()); err != nil {
			return err
		}
		_, err := c.ReadFrame()
		return err
	})
}

func (r *rawClient) serverStream(ctx context.Context, count, size int) (n int, err error) {
	err = r.with(ctx, func(c *rawproto.Conn) error {
		if err := errors.Join(c.WriteHeader(streamHeader(rawproto.ServerStream, count, size)), c.Flush()); err != nil {
			return err
		}
		for ; n < count; n++ {
			if _, err := c.ReadFrame(); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (r *rawClient) clientStream(ctx context.Context, count, size int) (int, error) {
	return count, r.with(ctx, func(c *rawproto.Conn) error {
		if err := c.WriteHeader(streamHeader(rawproto.ClientStream, count, size)); err != nil {
			return err
		}
		p := make([]byte, size)
		for range count {
			if err := c.WriteFrame(p); err != nil {
				return err
			}
		}
		if err := c.Flush(); err != nil {
			return err
		}
		_, err := c.ReadFrame()
		return err
	})
}

func streamHeader(op byte, count, size int) rawproto.Header {
	return rawproto.Header{Op: op, A: uint32(count), B: uint32(size)} //nolint:gosec // the counts are ours
}

func (r *rawClient) bidi(ctx context.Context) (func(*messages.Payload) error, func() error, error) {
	c, err := r.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	ping := func(p *messages.Payload) error { return roundTrip(c, rawproto.Header{Op: rawproto.Unary}, p.GetData()) }
	return ping, c.Close, nil
}
