package plugin

import (
	"context"
	"errors"
	"net"

	"github.com/plugwire/plugwire/core/broker"
	brokered "github.com/plugwire/plugwire/core/internal/goplugin/broker"
	"github.com/plugwire/plugwire/core/transport"
)

// Broker returns go-plugin's broker, which ends with the plugin. Most plugins want
// [Host] instead: see package broker. The context is one that [Logger] takes; with
// any other, every use of the broker fails.
func Broker(ctx context.Context) *broker.Broker {
	if rt := fromContext(ctx); rt != nil {
		return rt.broker
	}
	b := brokered.New(brokered.Config{Side: "plugin", Other: "host"})
	b.Close(errors.New("plugin.Broker: the context is not one of a handler of this plugin, nor derived from one"))
	return broker.New(b)
}

var errStopped = errors.New("the plugin has stopped")

// newBroker makes the broker of the connection with the host.
func (s *server) newBroker() *brokered.Broker {
	rt := s.runtime
	cfg := brokered.Config{
		Side:           "plugin",
		Other:          "host",
		MaxMessageSize: s.maxMessageSize,
		Limits:         s.limits,
		Logger:         rt.logger,
		OnPanic:        s.logPanic,
	}
	if rt.session.Multiplexed() {
		cfg.Streams = rt.session
		return brokered.New(cfg)
	}
	addresses := &brokered.Addresses{
		Transports: s.transports,
		Networks:   brokered.Networks(s.answer.Transport, s.offer.Transports),
		Listening: transport.ListenConfig{
			Dir: s.offer.SocketDir, Group: s.offer.SocketGroup, MinPort: s.offer.MinPort, MaxPort: s.offer.MaxPort, Logger: rt.logger,
		},
		Credentials: s.creds.WithOwner(rt),
		Opened: func(open func() (net.Listener, error)) (net.Listener, error) {
			ln, err := s.lifeline.listen(open)
			if err != nil {
				return nil, err
			}
			return &forgotten{ln, s.lifeline}, nil
		},
	}
	cfg.Listen, cfg.Dial = addresses.Listen, addresses.Dial
	return brokered.New(cfg)
}

// forgotten is a listener that its lifeline forgets once it is closed.
type forgotten struct {
	net.Listener
	lifeline *lifeline
}

// Close implements [net.Listener].
func (f *forgotten) Close() error {
	f.lifeline.forget(f.Listener)
	return f.Listener.Close()
}
