//go:build unix

package goplugin

import (
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/interop/peer/service"
)

// serve serves e under the id until stop is called, which returns when the
// socket is gone. AcceptAndServe itself never returns: the only way to end it is
// the server that it asks for.
func serve(broker *plugin.GRPCBroker, id uint32, e service.Echoer) (stop func()) {
	servers := make(chan *grpc.Server, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(servers) // there is none if the broker does not accept
		broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(opts...)
			s.RegisterService(&service.EchoDesc, e)
			servers <- s
			return s
		})
	}()
	return func() {
		if s := <-servers; s != nil {
			s.Stop()
		}
		<-done
	}
}
