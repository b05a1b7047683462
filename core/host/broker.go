package host

import (
	"slices"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/brokered"
	"github.com/plugwire/plugwire/core/transport"
)

// Broker returns go-plugin's broker for this plugin, which ends with it. Most
// programs want [WithServices] and plugin.Host instead: see package broker.
func (p *Plugin) Broker() *broker.Broker {
	p.startBroker()
	return p.broker
}

func (p *Plugin) startBroker() {
	p.brokerOnce.Do(func() { p.brokered.Start(p.peer.Plain()) })
}

// brokerNetworks returns the networks over which the plugin can reach the host's
// listeners, the best first.
func (l *launch) brokerNetworks(answer *handshake.Answer) []string {
	own := l.transports.IDs()
	chosen := answer.Transport
	if _, ok := l.child.Process.(Translator); ok {
		// The host's side of a network that is translated has to be one of its own.
		if l.transports.ByName(chosen.Name) == nil {
			chosen = transport.ID{}
		}
		return append(brokered.Networks(chosen, nil), brokered.Networks(transport.ID{}, own)...)
	}
	if len(answer.Transports) > 0 {
		own = slices.DeleteFunc(own, func(id transport.ID) bool { return !slices.Contains(answer.Transports, id) })
	}
	return brokered.Networks(chosen, own)
}

func (l *launch) newBroker(answer *handshake.Answer) *brokered.Broker {
	cfg := brokered.Config{
		Side:           "host",
		Other:          l.other(),
		MaxMessageSize: l.maxMessageSize,
		Limits:         l.limits,
		Logger:         l.logger,
		OnPanic:        l.logPanic,
		Stalled:        l.child.whyStopped,
		Exited:         l.child.exited,
	}
	if l.session.Multiplexed() {
		cfg.Streams = l.session
		return brokered.New(cfg)
	}
	addresses := &brokered.Addresses{
		Transports:  l.transports,
		Networks:    l.brokerNetworks(answer),
		Listening:   transport.ListenConfig{MinPort: l.minPort, MaxPort: l.maxPort, Logger: l.logger},
		Credentials: l.creds,
		Dir:         l.program.dir,
		ToOther:     l.child.toPlugin,
		FromOther:   l.child.toHost,
	}
	if l.child.dir != nil {
		addresses.Listening.Dir = l.child.dir.Own() // where the plugin can put nothing in the place of a socket
	}
	cfg.Listen, cfg.Dial = addresses.Listen, addresses.Dial
	return brokered.New(cfg)
}
