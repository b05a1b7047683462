package peers

import (
	"context"
	"errors"

	"github.com/containerd/ttrpc"

	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/work"
)

func ttrpcPeers() []*Peer {
	return []*Peer{{Name: TTRPC, Plugin: "ttrpc", Note: "containerd's, over one unix socket", start: startTTRPC}}
}

func startTTRPC(ctx context.Context, at place) (*Session, error) {
	process, err := launch.Start(at.command(), "unix")
	if err != nil {
		return nil, err
	}
	conn, err := process.Dial(ctx)
	if err != nil {
		return nil, errors.Join(err, process.Close())
	}
	c := ttrpcClient{ttrpc.NewClient(conn)}
	return &Session{
		PID:          process.PID(),
		Unary:        c.unary(work.MethodUnary),
		Mixed:        c.unary(work.MethodMixed),
		ServerStream: c.serverStream,
		ClientStream: c.clientStream,
		Bidi:         c.bidi,
		Close:        func() error { return errors.Join(c.client.Close(), process.Close()) },
	}, nil
}

type ttrpcClient struct{ client *ttrpc.Client }

func (c ttrpcClient) unary(method string) func(context.Context, *messages.Payload) (*messages.Payload, error) {
	return func(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
		answer := new(messages.Payload)
		return answer, c.client.Call(ctx, work.Service, method, p, answer)
	}
}

func (c ttrpcClient) serverStream(ctx context.Context, count, size int) (int, error) {
	req := &messages.StreamRequest{Count: int64(count), Size: int64(size)}
	s, err := c.client.NewStream(ctx, &ttrpc.StreamDesc{StreamingServer: true}, work.Service, work.MethodServerStream, req)
	if err != nil {
		return 0, err
	}
	return work.Count(func() (*messages.Payload, error) {
		p := new(messages.Payload)
		return p, s.RecvMsg(p)
	})
}

func (c ttrpcClient) clientStream(ctx context.Context, count, size int) (int, error) {
	s, err := c.client.NewStream(ctx, &ttrpc.StreamDesc{StreamingClient: true}, work.Service, work.MethodClientStream, nil)
	if err != nil {
		return 0, err
	}
	if err := work.SendCount(count, size, func(p *messages.Payload) error { return s.SendMsg(p) }); err != nil {
		return 0, err
	}
	if err := s.CloseSend(); err != nil {
		return 0, err
	}
	var sum messages.Summary
	err = s.RecvMsg(&sum)
	return int(sum.GetCount()), err
}

func (c ttrpcClient) bidi(ctx context.Context) (ping func(*messages.Payload) error, done func() error, err error) {
	s, err := c.client.NewStream(ctx, &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, work.Service, work.MethodBidi, nil)
	if err != nil {
		return nil, nil, err
	}
	ping = func(p *messages.Payload) error {
		if err := s.SendMsg(p); err != nil {
			return err
		}
		return s.RecvMsg(new(messages.Payload))
	}
	return ping, s.CloseSend, nil
}
