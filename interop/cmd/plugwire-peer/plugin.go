package main

import (
	"context"
	"time"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/interop/peer/service"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// Serve implements [peer.Framework].
func (framework) Serve(versions []int, linger time.Duration) {
	var bindings []protocol.Binding
	for _, p := range protocols(versions) {
		bindings = append(bindings, protocol.Bind(p, &handler{Base: service.Base{At: p.Version()}}))
	}
	plugin.Main(protocol.Join(bindings...),
		plugin.WithTransports(unix.New(), tcp.New()),
		plugin.OnShutdown(func(ctx context.Context) error {
			select {
			case <-time.After(linger):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}))
}

func protocols(versions []int) []*protocol.Protocol {
	var all []*protocol.Protocol
	for _, version := range versions {
		all = append(all, protocol.New("interop", version, &service.Desc))
	}
	return all
}

// handler is the service in a plugin.
type handler struct {
	service.Base
	service.Stops
}

var _ service.Handler = (*handler)(nil)

// Log implements [service.Handler].
func (*handler) Log(ctx context.Context, text string) {
	const message = service.LogMessage // the linter does not see that the key is a constant
	plugin.Logger(ctx).WarnContext(ctx, message, service.LogField, text)
}
