package calls

import (
	"context"

	"google.golang.org/grpc/stats"
)

// ApplicationStats returns the handlers for the calls of the application. They do not
// see calls for which isControl reports that they are the framework's own.
func ApplicationStats(list []stats.Handler, isControl func(fullMethod string) bool) []stats.Handler {
	return each(list, func(h stats.Handler) stats.Handler { return &applicationStats{Handler: h, isControl: isControl} })
}

// applicationStats shows a handler the calls of the application only.
type applicationStats struct {
	stats.Handler
	isControl func(fullMethod string) bool
}

// hiddenKey is the key under which the context of a call says whether an
// applicationStats hides the call from its handler.
type hiddenKey struct{ stats *applicationStats }

// TagRPC implements [stats.Handler].
func (a *applicationStats) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	key := hiddenKey{a}
	if a.isControl(info.FullMethodName) {
		return context.WithValue(ctx, key, true)
	}
	if hidden, _ := ctx.Value(key).(bool); hidden {
		// A handler of the framework's own makes this call, with a context of its own call.
		ctx = context.WithValue(ctx, key, false)
	}
	return a.Handler.TagRPC(ctx, info)
}

// HandleRPC implements [stats.Handler].
func (a *applicationStats) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if hidden, _ := ctx.Value(hiddenKey{a}).(bool); !hidden {
		a.Handler.HandleRPC(ctx, s)
	}
}
