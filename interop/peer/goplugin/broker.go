package goplugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/interop/peer/service"
)

// serve serves e under the id until stop is called. stop returns when the
// socket is gone.
//
// serve returns when the broker accepts. A peer that dials sooner can end the
// plugin. In the multiplexed mode go-plugin answers a knock before the listener
// exists, finds no listener for the stream that follows, and treats that as an
// error of the listener of all streams.
//
// AcceptAndServe returns only when it fails or the broker is closed. To end it
// alone, stop the server that it asks for.
func serve(ctx context.Context, broker *plugin.GRPCBroker, id uint32, e service.Echoer) (stop func(), err error) {
	accepted := make(chan *grpc.Server, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(accepted) // closed without a server if the broker does not accept
		broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(opts...)
			s.RegisterService(&service.EchoDesc, e)
			accepted <- s
			return s
		})
	}()
	select {
	case s := <-accepted:
		if s == nil {
			return nil, errors.New("the broker does not accept; the log says why")
		}
		return func() {
			s.Stop()
			<-done
		}, nil
	case <-ctx.Done():
		// Dial never returns without a stream of the other side's broker.
		return nil, fmt.Errorf("the broker does not accept: %w", ctx.Err())
	}
}
