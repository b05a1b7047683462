package peers

import (
	"context"
	"errors"
	"net"

	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/log"

	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/protocodec"
	"github.com/plugwire/plugwire/bench/internal/work"
)

func arpcPeers() []*Peer {
	return []*Peer{{Name: ARPC, Plugin: "arpc", Note: "lesismal's with protobuf, over one unix socket; it has no streams", start: startARPC}}
}

func startARPC(ctx context.Context, at place) (*Session, error) {
	log.SetLevel(log.LevelNone) //nolint:forbidigo // the log of arpc, which has no other switch
	process, err := launch.Start(at.command(), "unix")
	if err != nil {
		return nil, err
	}
	client, err := arpc.NewClient(func() (net.Conn, error) { return process.Dial(ctx) })
	if err != nil {
		return nil, errors.Join(err, process.Close())
	}
	client.Codec = protocodec.Codec[any]{}
	client.Handler.Handle(work.MethodUnary, func(c *arpc.Context) {
		var p messages.Payload
		err := c.Bind(&p)
		if err == nil {
			err = c.Write(work.Unary(&p))
		}
		if err != nil {
			_ = c.Error(err) // the plugin reports it
		}
	})
	call := func(method string) func(context.Context, *messages.Payload) (*messages.Payload, error) {
		return func(ctx context.Context, p *messages.Payload) (*messages.Payload, error) {
			answer := new(messages.Payload)
			return answer, client.CallContext(ctx, method, p, answer)
		}
	}
	return &Session{
		PID:      process.PID(),
		Unary:    call(work.MethodUnary),
		Mixed:    call(work.MethodMixed),
		Callback: call(work.MethodCallback),
		Close:    func() error { client.Stop(); return process.Close() },
	}, nil
}
