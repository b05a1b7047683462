// Command ttrpc is the plugin of the peer ttrpc. It has no generated code: the
// descriptions of the methods are as short by hand.
package main

import (
	"context"

	"github.com/containerd/ttrpc"

	"github.com/plugwire/plugwire/bench/internal/agent"
	"github.com/plugwire/plugwire/bench/internal/launch"
	"github.com/plugwire/plugwire/bench/internal/messages"
	"github.com/plugwire/plugwire/bench/internal/work"
)

func main() {
	agent.Serve()
	launch.Exit(serve())
}

func serve() error {
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	var mixed work.SleepyHandler
	server.RegisterService(work.Service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			work.MethodUnary: unary(work.Unary),
			work.MethodMixed: unary(mixed.Call),
		},
		Streams: map[string]ttrpc.Stream{
			work.MethodServerStream: {Handler: serverStream, StreamingServer: true},
			work.MethodClientStream: {Handler: clientStream, StreamingClient: true},
			work.MethodBidi:         {Handler: bidi, StreamingClient: true, StreamingServer: true},
		},
	})
	ln, err := launch.Listen()
	if err != nil {
		return err
	}
	return server.Serve(context.Background(), ln)
}

func unary(handle func(*messages.Payload) *messages.Payload) ttrpc.Method {
	return func(_ context.Context, unmarshal func(any) error) (any, error) {
		var p messages.Payload
		if err := unmarshal(&p); err != nil {
			return nil, err
		}
		return handle(&p), nil
	}
}

func serverStream(_ context.Context, s ttrpc.StreamServer) (any, error) {
	var req messages.StreamRequest
	if err := s.RecvMsg(&req); err != nil {
		return nil, err
	}
	return nil, work.SendAll(&req, func(p *messages.Payload) error { return s.SendMsg(p) })
}

func clientStream(_ context.Context, s ttrpc.StreamServer) (any, error) {
	n, err := work.Count(receiver(s))
	return &messages.Summary{Count: int64(n)}, err
}

func bidi(_ context.Context, s ttrpc.StreamServer) (any, error) {
	return nil, work.Echo(receiver(s), func(p *messages.Payload) error { return s.SendMsg(p) })
}

func receiver(s ttrpc.StreamServer) func() (*messages.Payload, error) {
	return func() (*messages.Payload, error) {
		p := new(messages.Payload)
		return p, s.RecvMsg(p)
	}
}
