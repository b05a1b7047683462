package rpc

import (
	"context"

	"google.golang.org/grpc/stats"
)

// answered has a call leave the gate when its answer is on its way, and not as
// soon as its handler returns: what is said after a drain then follows all
// answers. It costs each call a few allocations.
type answered struct{ gate *gate }

var _ stats.Handler = answered{}

// A visit is one call, which may have entered the gate.
type visit struct{ entered bool }

type visitKey struct{}

// keep leaves it to the end of the call to leave the gate. It reports false for a
// server without answered.
func keep(ctx context.Context) bool {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if ok {
		v.entered = true
	}
	return ok
}

// TagRPC implements [stats.Handler].
func (answered) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, visitKey{}, new(visit))
}

// HandleRPC implements [stats.Handler]. The end of a call comes from the goroutine
// of its handler, after the answer was given to the connection.
func (a answered) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, end := s.(*stats.End); !end {
		return
	}
	if v, ok := ctx.Value(visitKey{}).(*visit); ok && v.entered {
		a.gate.leave()
	}
}

// TagConn implements [stats.Handler].
func (answered) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (answered) HandleConn(context.Context, stats.ConnStats) {}
