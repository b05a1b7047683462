package calls

import (
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Control registers the framework's own services. Their streams, such as a health
// watch, would last as long as the connection. Control ends these streams when the server
// stops, so that a stop waits for answers only.
type Control struct {
	Registrar
	side     string
	stopping <-chan struct{}
	gate     Gate // of streams; a unary call ends by itself
}

// Registrar takes services and tells which it has, as reflection needs.
type Registrar interface {
	grpc.ServiceRegistrar
	GetServiceInfo() map[string]grpc.ServiceInfo
}

// NewControl returns a registrar of the framework's own services. side is what
// this side is called in errors, and stopping is closed when the server stops.
func NewControl(r Registrar, side string, stopping <-chan struct{}) *Control {
	return &Control{Registrar: r, side: side, stopping: stopping, gate: Gate{Limit: MaxControl}}
}

// RegisterService implements [grpc.ServiceRegistrar].
func (c *Control) RegisterService(desc *grpc.ServiceDesc, handler any) {
	ending := *desc
	ending.Streams = slices.Clone(desc.Streams)
	for i := range ending.Streams {
		ending.Streams[i].Handler = c.end(ending.Streams[i].Handler)
	}
	c.Registrar.RegisterService(&ending, handler)
}

// end returns a handler that returns when next does, or when the server stops. Then next
// ends too, because the wire cancels the context of a stream whose handler has returned.
func (c *Control) end(next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, ss grpc.ServerStream) error {
		if c.gate.Enter() != Entered {
			return tooManyControl(c.side)
		}
		done := make(chan error, 1)
		go func() {
			defer c.gate.Leave()
			done <- next(srv, ss)
		}()
		select {
		case err := <-done:
			return err
		case <-c.stopping:
			return status.Errorf(codes.Unavailable, "the %s is shutting down", c.side)
		}
	}
}
