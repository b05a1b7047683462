package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/plugwire/plugwire/core/broker"
	brokered "github.com/plugwire/plugwire/core/internal/goplugin/broker"
	"github.com/plugwire/plugwire/core/internal/negotiation"
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
func (l *launch) brokerNetworks(answer *negotiation.Answer) []string {
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

// listenFor returns what opens a listener that a plugin of another user can connect to:
// its socket is given to that user. It lies in a directory of the host's, where the
// plugin can put nothing else in its place.
func listenFor(uid int) func(open func() (net.Listener, error)) (net.Listener, error) {
	return func(open func() (net.Listener, error)) (net.Listener, error) {
		ln, err := open()
		if err != nil {
			return nil, err
		}
		if addr, ok := ln.Addr().(*net.UnixAddr); ok {
			if err := os.Lchown(addr.Name, uid, -1); err != nil {
				err = fmt.Errorf("the plugin runs as user %d, to whom the socket cannot be given: give both sides transport tcp, first, with host.WithTransports and plugin.WithTransports: %w", uid, err)
				return nil, errors.Join(err, ln.Close())
			}
		}
		return ln, nil
	}
}

func (l *launch) newBroker(answer *negotiation.Answer) *brokered.Broker {
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
	if l.uid != os.Geteuid() {
		addresses.Opened = listenFor(l.uid)
	}
	cfg.Listen, cfg.Dial = addresses.Listen, addresses.Dial
	return brokered.New(cfg)
}
