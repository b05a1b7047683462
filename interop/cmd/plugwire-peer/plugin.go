//go:build unix

package main

import (
	"context"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/interop/peer/service"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// Serve implements [peer.Framework].
func (framework) Serve(versions []int) {
	var bindings []protocol.Binding
	for _, p := range protocols(versions) {
		bindings = append(bindings, protocol.Bind(p, &handler{Base: service.Base{At: p.Version()}}))
	}
	plugin.Main(protocol.Join(bindings...), plugin.WithTransports(unix.New(), tcp.New()))
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
	service.Served
}

var _ service.Handler = (*handler)(nil)

// Log implements [service.Handler].
func (*handler) Log(ctx context.Context, text string) {
	plugin.Logger(ctx).WarnContext(ctx, text, service.LogField, service.LogValue)
}
