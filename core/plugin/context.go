package plugin

import (
	"context"
	"log/slog"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// runtime is what handlers and hooks reach through their context.
type runtime struct {
	logger   *slog.Logger
	services *control.Services
	session  *session.Listener
	calls    *rpc.Plugin
	broker   *brokerEnd
	stacks   func(method string) string // nil if the plugin tells no stacks
	stopping chan struct{}              // closed when the plugin begins to stop

	namedStreams []NamedStreamInterceptor
}

// runtimeKey is the key under which the context of an OnShutdown function holds the
// runtime. A handler's context has the runtime from the connection of the call, which
// costs the call nothing.
type runtimeKey struct{}

func fromContext(ctx context.Context) *runtime {
	if rt, ok := ctx.Value(runtimeKey{}).(*runtime); ok {
		return rt
	}
	info := calls.Caller(ctx)
	if info == nil {
		return nil
	}
	owner := info.Owner
	if host, ok := owner.(*rpc.Host); ok {
		owner = host.Owner()
	} // else the call came by the broker
	rt, _ := owner.(*runtime)
	return rt
}

// Logger returns the plugin's logger. The context is that of a handler or of a function
// given with [OnReady] or [OnShutdown], or one derived from it, also by
// [context.WithoutCancel]. With any other context Logger returns [slog.Default], so
// that a handler can be tested alone.
func Logger(ctx context.Context) *slog.Logger {
	if rt := fromContext(ctx); rt != nil {
		return rt.logger
	}
	return slog.Default()
}

// Stopping returns a channel that is closed when the plugin begins to stop. The plugin
// then refuses new calls, and calls in flight have a bounded time to end before they
// are cut off. A handler that has no end of its own, such as a subscription, returns
// when the channel is closed. The context is one that [Logger] takes. With any other
// context the channel is nil, and receiving from it blocks.
func Stopping(ctx context.Context) <-chan struct{} {
	if rt := fromContext(ctx); rt != nil {
		return rt.stopping
	}
	return nil
}

// SetHealth sets the plugin's health, which grpc.health.v1 reports for the services ""
// and "plugin". A plugin is serving from the start. Once it begins to stop, it is not
// serving, and SetHealth has no effect. The context is one that [Logger] takes. With
// any other context SetHealth does nothing.
func SetHealth(ctx context.Context, serving bool) {
	if rt := fromContext(ctx); rt != nil {
		rt.services.SetServing(serving)
	}
}
