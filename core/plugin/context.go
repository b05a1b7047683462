package plugin

import (
	"context"
	"log/slog"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/secure"
	"github.com/plugwire/plugwire/core/internal/session"
)

// runtime is what handlers reach through their context.
type runtime struct {
	logger   *slog.Logger
	services *control.Services
	host     hostLink
	session  *session.Listener
	broker   *broker.Broker
	stopping chan struct{} // closed when the plugin begins to stop
}

// runtimeKey is the key under which the context of OnShutdown functions holds
// the runtime. A handler's context has it from the connection that the call
// came on, which costs the call nothing.
type runtimeKey struct{}

func fromContext(ctx context.Context) *runtime {
	if rt, ok := ctx.Value(runtimeKey{}).(*runtime); ok {
		return rt
	}
	info, _ := secure.FromContext(ctx)
	rt, _ := info.Owner.(*runtime)
	return rt
}

// Logger returns the plugin's logger. The context is a handler's, an OnShutdown
// function's, or one derived from these, also by [context.WithoutCancel]; with
// any other it returns [slog.Default], so that a handler can be tested alone.
func Logger(ctx context.Context) *slog.Logger {
	if rt := fromContext(ctx); rt != nil {
		return rt.logger
	}
	return slog.Default()
}

// Stopping returns a channel that is closed when the plugin begins to stop. From
// then on it takes no new calls, and those in flight have a bounded time to end
// before they are cut off: a handler that goes on until somebody ends it, as a
// subscription does, returns when the channel is closed. The context is one that
// [Logger] takes; with any other the channel is nil, which blocks for ever.
func Stopping(ctx context.Context) <-chan struct{} {
	if rt := fromContext(ctx); rt != nil {
		return rt.stopping
	}
	return nil
}

// SetHealth sets the plugin's health as grpc.health.v1 reports it, for the
// services "" and "plugin". A plugin is serving from the start, and not serving
// for good once it stops. The context is one that [Logger] takes; with any
// other it does nothing.
func SetHealth(ctx context.Context, serving bool) {
	if rt := fromContext(ctx); rt != nil {
		rt.services.SetServing(serving)
	}
}
