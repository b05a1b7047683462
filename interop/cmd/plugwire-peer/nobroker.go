package main

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/interop/peer"
	"github.com/plugwire/plugwire/interop/peer/service"
)

// Until core has them, this file stands for broker.go. Then it goes, and so do
// the build tag there and the variable pending of the tests.

var errNoBroker = fmt.Errorf("a broker: %w", peer.ErrUnsupported)

func multiplex() []host.Option { return nil }

// NextID implements [peer.Broker].
func (*running) NextID() uint32 { return 0 }

// Serve implements [peer.Broker].
func (*running) Serve(context.Context, uint32, service.Echoer) (stop func(), err error) {
	return nil, errNoBroker
}

// Dial implements [peer.Broker].
func (*running) Dial(context.Context, uint32) (service.Conn, func() error, error) {
	return nil, nil, errNoBroker
}

// CallHost implements [service.Handler].
func (*handler) CallHost(context.Context, uint32) (string, error) { return "", errNoBroker }

// ServeBack implements [service.Handler].
func (*handler) ServeBack(context.Context) (uint32, error) { return 0, errNoBroker }
