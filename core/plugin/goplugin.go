package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/goplugin"
	brokering "github.com/plugwire/plugwire/core/internal/goplugin/broker"
	"github.com/plugwire/plugwire/core/internal/goplugin/multiplex"
	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/self"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
)

// This file is all that package plugin does because of go-plugin.

// foreign is what a plugin has for a host on go-plugin. It is nil under a Plugwire host.
type foreign = goplugin.PluginSide

func newForeign() *foreign { return goplugin.NewPluginSide() }

// brokerEnd is the plugin's end of go-plugin's broker.
type brokerEnd = brokering.Broker

// AsGoPlugin makes the plugin serve every host as it serves one on go-plugin: with go-plugin's
// answer and services, and nothing beyond them. Several hosts can then attach to the plugin
// (ReattachConfig there) beside the one that has started it. If that is a Plugwire host, the
// plugin still ends with it.
func AsGoPlugin() Option {
	return optionFunc(func(cfg *config) error {
		cfg.asGoPlugin = true
		return nil
	})
}

// foreignExit is how long a plugin serves on once such a host knows that it stopped.
const foreignExit = goplugin.ExitGrace

// takeOver makes everything that this process prints go to its host, and binds the life of
// this process, and of what it starts, to the host's. The answer goes where the host reads
// it.
func (s *server) takeOver() error {
	stdout, stderr, err := s.foreign.Capture()
	if err != nil {
		return err
	}
	if s.config.answer == os.Stdout {
		s.config.answer = stdout
	}
	if s.outlives {
		s.outlivesForeign = true
		return nil
	}
	if s.lifeline != nil {
		return nil // the host is one of ours, see AsGoPlugin
	}
	// A host on go-plugin starts its plugins in its own group, and ends the plugin's
	// process only.
	if err := self.LeadGroup(); err != nil {
		s.runtime.logger.Warn("what this plugin starts may outlive it", "error", err)
	}
	s.lifeline = watch(self.NewReader(stdout, stderr))
	return nil
}

// registerGoPlugin adds the services of go-plugin: the broker's for every host, the others
// for a host on go-plugin.
func (s *server) registerGoPlugin(r calls.Registrar, shutdown func(grace time.Duration)) {
	s.runtime.broker.Register(r)
	s.foreign.Register(r, shutdown)
}

// Broker returns go-plugin's broker, which ends with the plugin. Most plugins want [Host]
// instead: see package broker. The context is one that [Logger] takes. With any other
// context, every use of the broker fails.
func Broker(ctx context.Context) broker.Broker {
	if rt := fromContext(ctx); rt != nil {
		return rt.broker
	}
	return noBroker{}
}

var errNoBroker = errors.New("plugin.Broker: the context is not one of a handler of this plugin, nor derived from one")

// noBroker is the broker of a context that belongs to no plugin.
type noBroker struct{}

// NextID implements [broker.Broker].
func (noBroker) NextID() uint32 { return 0 }

// Serve implements [broker.Broker].
func (noBroker) Serve(context.Context, uint32, ...protocol.Binding) error { return errNoBroker }

// Dial implements [broker.Broker].
func (noBroker) Dial(context.Context, uint32) (broker.Conn, error) { return nil, errNoBroker }

// multiplexedEnd is the plugin's end of go-plugin's multiplexed mode.
type multiplexedEnd = multiplex.PluginEnd

// openSession accepts streams from the listener.
func (s *server) openSession(cfg session.ListenerConfig) *session.Listener {
	if !cfg.Foreign || cfg.Kind != handshake.SessionYamux {
		return session.NewListener(s.listener, cfg)
	}
	s.multiplexed = multiplex.NewPluginEnd(s.listener, cfg.Credentials, cfg.Logger)
	cfg.Kind = handshake.SessionDirect // the end yields streams that are authenticated
	return session.NewListener(s.multiplexed, cfg)
}

// endSession ends what is left of the session.
func (s *server) endSession() {
	s.runtime.session.End()
	if s.multiplexed != nil {
		s.multiplexed.End()
	}
}

var errStopped = fmt.Errorf("the plugin has stopped: %w", net.ErrClosed)

// canBroker reports whether brokered connections can travel over a transport.
func canBroker(t transport.ID) bool { return len(brokering.Networks(t, nil)) > 0 }

// newBroker makes the broker of the connection with the host.
func (s *server) newBroker() *brokerEnd {
	rt := s.runtime
	cfg := brokering.Config{
		Side:           "plugin",
		Other:          "host",
		MaxMessageSize: s.maxMessageSize,
		Limits:         s.limits,
		Logger:         rt.logger,
		OnPanic:        s.logPanic,
		UnaryServer:    s.unary,
		StreamServer:   s.stream,
		ServerStats:    s.serverStats,
		UnaryClient:    s.unaryClient,
		StreamClient:   s.streamClient,
		ClientStats:    s.clientStats,
	}
	if s.multiplexed != nil {
		cfg.Streams = s.multiplexed
		return brokering.New(cfg)
	}
	addresses := &brokering.Addresses{
		Transports: s.transports,
		Networks:   brokering.Networks(s.answer.Transport, s.offer.Transports),
		Listening: transport.ListenConfig{
			Dir: s.offer.SocketDir, Group: s.offer.SocketGroup, MinPort: s.offer.MinPort, MaxPort: s.offer.MaxPort, Logger: rt.logger,
		},
		Credentials: s.creds.WithOwner(rt),
		Opened: func(open func() (net.Listener, error)) (net.Listener, error) {
			ln, err := s.lifeline.listen(open)
			if err != nil {
				return nil, err
			}
			return &boundListener{ln, s.lifeline}, nil
		},
	}
	cfg.Listen, cfg.Dial = addresses.Listen, addresses.Dial
	return brokering.New(cfg)
}

// boundListener is a listener that its lifeline forgets once it is closed.
type boundListener struct {
	net.Listener
	lifeline *lifeline
}

// Close implements [net.Listener].
func (f *boundListener) Close() error {
	f.lifeline.forget(f.Listener)
	return f.Listener.Close()
}
