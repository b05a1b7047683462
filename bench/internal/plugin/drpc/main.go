// Command drpc is the plugin of the peer drpc. It has no generated code, and serves the
// streams without drpc's mux, which would look methods up by reflection.
package main

import (
	"context"
	"fmt"

	"storj.io/drpc"
	"storj.io/drpc/drpcserver"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/protocodec"
	"github.com/plugwire/plugwire/bench/internal/work"
)

func main() {
	agent.Serve()
	launch.Exit(serve())
}

func serve() error {
	ln, err := launch.Listen()
	if err != nil {
		return err
	}
	return drpcserver.New(&handler{}).Serve(context.Background(), ln)
}

// encoding is protobuf.
var encoding protocodec.Codec[drpc.Message]

// handler implements [drpc.Handler].
type handler struct{ mixed work.SleepyHandler }

// HandleRPC handles one call.
func (h *handler) HandleRPC(s drpc.Stream, method string) error {
	receive := func() (*messages.Payload, error) {
		p := new(messages.Payload)
		return p, s.MsgRecv(p, encoding)
	}
	send := func(p *messages.Payload) error { return s.MsgSend(p, encoding) }
	switch method {
	case work.MethodUnary, work.MethodMixed:
		p, err := receive()
		if err != nil {
			return err
		}
		if method == work.MethodMixed {
			return send(h.mixed.Call(p))
		}
		return send(work.Unary(p))
	case work.MethodServerStream:
		var req messages.StreamRequest
		if err := s.MsgRecv(&req, encoding); err != nil {
			return err
		}
		if err := work.SendAll(&req, send); err != nil {
			return err
		}
		return s.CloseSend()
	case work.MethodClientStream:
		n, err := work.Count(receive)
		if err != nil {
			return err
		}
		return s.MsgSend(&messages.Summary{Count: int64(n)}, encoding)
	case work.MethodBidi:
		if err := work.Echo(receive, send); err != nil {
			return err
		}
		return s.CloseSend()
	default:
		return fmt.Errorf("unknown method %q", method)
	}
}
