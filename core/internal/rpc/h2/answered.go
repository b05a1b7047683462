package h2

import (
	"context"

	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// answerGate lets a call leave a gate when its answer is sent, and not as soon as its
// handler returns. What this side sends after a drain then follows all answers. It costs
// each call a few allocations.
type answerGate struct{ gate *calls.Gate }

var _ stats.Handler = answerGate{}

// visit is one call, which may have entered the gate.
type visit struct{ entered bool }

type visitKey struct{}

// enter lets a call of the application into the gate.
func (a answerGate) enter(ctx context.Context) {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		v.entered = a.gate.Enter() == calls.Entered
	}
}

// TagRPC implements [stats.Handler].
func (answerGate) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, visitKey{}, new(visit))
}

// HandleRPC implements [stats.Handler]. The end of a call comes from the goroutine
// of its handler, after the answer was given to the connection.
func (a answerGate) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, end := s.(*stats.End); !end {
		return
	}
	if v, ok := ctx.Value(visitKey{}).(*visit); ok && v.entered {
		a.gate.Leave()
	}
}

// TagConn implements [stats.Handler].
func (answerGate) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (answerGate) HandleConn(context.Context, stats.ConnStats) {}
