package peers

import (
	"context"
	"errors"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcpool"

	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/protocodec"
	"github.com/plugwire/plugwire/bench/internal/work"
)

// drpcConnections is more than there are callers: a connection of drpc carries one call
// at a time.
const drpcConnections = 128

func drpcPeers() []*Peer {
	return []*Peer{{Name: DRPC, Plugin: "drpc", Note: "storj's with its pool: a unix socket for each concurrent call", start: startDRPC}}
}

func startDRPC(ctx context.Context, at place) (*Session, error) {
	process, err := launch.Start(at.command(), "unix")
	if err != nil {
		return nil, err
	}
	pool := drpcpool.New[string, drpcpool.Conn](drpcpool.Options{Capacity: drpcConnections, KeyCapacity: drpcConnections})
	c := drpcClient{pool.Get(ctx, process.Address, func(ctx context.Context, _ string) (drpcpool.Conn, error) {
		conn, err := process.Dial(ctx)
		if err != nil {
			return nil, err
		}
		return drpcconn.New(conn), nil
	})}
	return &Session{
		PID:          process.PID(),
		Unary:        c.unary(work.MethodUnary),
		Mixed:        c.unary(work.MethodMixed),
		ServerStream: c.serverStream,
		ClientStream: c.clientStream,
		Bidi:         c.bidi,
		Close:        func() error { return errors.Join(pool.Close(), process.Close()) },
	}, nil
}

// encoding is protobuf.
var encoding protocodec.Codec[drpc.Message]

type drpcClient struct{ conn drpc.Conn }

func (c drpcClient) unary(method string) func(context.Context, *messages.Payload) (*messages.Payload, error) {
	return func(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
		answer := new(messages.Payload)
		return answer, c.conn.Invoke(ctx, method, encoding, p, answer)
	}
}

func (c drpcClient) serverStream(ctx context.Context, count, size int) (int, error) {
	s, err := c.conn.NewStream(ctx, work.MethodServerStream, encoding)
	if err != nil {
		return 0, err
	}
	req := &messages.StreamRequest{Count: int64(count), Size: int64(size)}
	if err := errors.Join(s.MsgSend(req, encoding), s.CloseSend()); err != nil {
		return 0, err
	}
	return work.Count(func() (*messages.Payload, error) {
		p := new(messages.Payload)
		return p, s.MsgRecv(p, encoding)
	})
}

func (c drpcClient) clientStream(ctx context.Context, count, size int) (int, error) {
	s, err := c.conn.NewStream(ctx, work.MethodClientStream, encoding)
	if err != nil {
		return 0, err
	}
	if err := work.SendCount(count, size, func(p *messages.Payload) error { return s.MsgSend(p, encoding) }); err != nil {
		return 0, err
	}
	if err := s.CloseSend(); err != nil {
		return 0, err
	}
	var sum messages.Summary
	err = s.MsgRecv(&sum, encoding)
	return int(sum.GetCount()), err
}

func (c drpcClient) bidi(ctx context.Context) (ping func(*messages.Payload) error, done func() error, err error) {
	s, err := c.conn.NewStream(ctx, work.MethodBidi, encoding)
	if err != nil {
		return nil, nil, err
	}
	ping = func(p *messages.Payload) error {
		if err := s.MsgSend(p, encoding); err != nil {
			return err
		}
		return s.MsgRecv(new(messages.Payload), encoding)
	}
	return ping, s.Close, nil
}
