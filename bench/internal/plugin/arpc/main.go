// Command arpc is the plugin of the peer arpc. By default arpc handles calls on the
// goroutine that reads. That is right for the quick handler; the others ask for a
// goroutine for each call.
package main

import (
	"github.com/lesismal/arpc"
	"github.com/lesismal/arpc/log"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/protocodec"
	"github.com/plugwire/plugwire/bench/internal/work"
)

// inGoroutine is the argument that asks for a goroutine for each call.
const inGoroutine = true

func main() {
	agent.Serve()
	launch.Exit(serve())
}

func serve() error {
	log.SetLevel(log.LevelNone) //nolint:forbidigo // the log of arpc, which has no other switch
	server := arpc.NewServer()
	server.Codec = protocodec.Codec[any]{}
	var mixed work.SleepyHandler
	server.Handler.Handle(work.MethodUnary, handle(func(_ *arpc.Context, p *messages.Payload) (*messages.Payload, error) {
		return work.Unary(p), nil
	}))
	server.Handler.Handle(work.MethodMixed, handle(func(_ *arpc.Context, p *messages.Payload) (*messages.Payload, error) {
		return mixed.Call(p), nil
	}), inGoroutine)
	server.Handler.Handle(work.MethodCallback, handle(func(c *arpc.Context, p *messages.Payload) (*messages.Payload, error) {
		var back messages.Payload
		err := c.Client.CallContext(c, work.MethodUnary, p, &back)
		return &back, err
	}), inGoroutine)
	ln, err := launch.Listen()
	if err != nil {
		return err
	}
	return server.Serve(ln)
}

func handle(f func(*arpc.Context, *messages.Payload) (*messages.Payload, error)) arpc.HandlerFunc {
	return func(c *arpc.Context) {
		var p messages.Payload
		err := c.Bind(&p)
		if err == nil {
			var answer *messages.Payload
			if answer, err = f(c, &p); err == nil {
				err = c.Write(answer)
			}
		}
		if err != nil {
			_ = c.Error(err) // the host sees it, or has ended the connection
		}
	}
}
