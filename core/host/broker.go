package host

import (
	"github.com/plugwire/plugwire/core/broker"
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

func (l *launch) newBroker() *brokered.Broker {
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
