package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/broker"
	"github.com/plugwire/plugwire/core/internal/goplugin"
	brokering "github.com/plugwire/plugwire/core/internal/goplugin/broker"
	"github.com/plugwire/plugwire/core/internal/goplugin/multiplex"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/session"
	"github.com/plugwire/plugwire/core/transport"
)

// This file is all that package host does because of go-plugin.

// goPluginSide is what a host has for one plugin because of go-plugin.
type goPluginSide = goplugin.HostSide

// Broker returns go-plugin's broker for this plugin, which ends with it. Most programs
// want [WithServices] and plugin.Host instead: see package broker.
func (p *Plugin) Broker() broker.Broker {
	if p.foreign {
		return &drainedBroker{p.goplugin.Broker(), &p.drain}
	}
	return p.goplugin.Broker()
}

// drainedBroker is the broker of a foreign plugin. Its connections count their calls.
type drainedBroker struct {
	*brokering.Broker
	drain *drain
}

// Dial implements [broker.Broker].
func (b *drainedBroker) Dial(ctx context.Context, id uint32) (broker.Conn, error) {
	conn, err := b.Broker.Dial(ctx, id)
	if err != nil {
		return nil, err
	}
	return &drainedConn{conn, b.drain}, nil
}

// newGoPlugin returns the host's side of go-plugin's services. A plugin on go-plugin blocks
// without them, so they begin at once for it.
func (l *launch) newGoPlugin(answer *negotiation.Answer, conn grpc.ClientConnInterface) *goPluginSide {
	side := goplugin.NewHostSide(conn, l.newBroker(answer))
	if !answer.Plugwire {
		printed := l.printedBy(l.child.copies)
		side.Attend(goplugin.Output{
			Logger: l.child.logger,
			Stdout: printed.stdout,
			Stderr: printed.stderr,
			Exited: l.child.exited,
		})
	}
	return side
}

// frameworks is what a program is built with.
type frameworks = goplugin.Frameworks

// frameworksOf returns what the program says that it is built with.
func (l *launch) frameworksOf(cmd *exec.Cmd) frameworks {
	program, err := l.openProgram(cmd)
	if err != nil {
		return frameworks{}
	}
	defer program.Close() //nolint:errcheck // opened for reading
	return goplugin.FrameworksOf(program)
}

// foreignAddress returns the address of a plugin on go-plugin in the syntax of its
// transport.
func (l *launch) foreignAddress(ctx context.Context, network, address string) (string, error) {
	return goplugin.Address(ctx, network, address, l.program.dir)
}

// multiplexedEnd is the host's end of go-plugin's multiplexed mode.
type multiplexedEnd = multiplex.HostEnd

// dialMultiplexed connects to a plugin in go-plugin's multiplexed mode.
func (l *launch) dialMultiplexed(ctx context.Context, cfg session.Config) (*session.Session, error) {
	conn, err := cfg.Transport.Dial(ctx, cfg.Dial)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if l.multiplexed, err = multiplex.NewHostEnd(ctx, conn, cfg.Credentials); err != nil {
		return nil, err
	}
	return l.multiplexed.Session(), nil
}

// brokerNetworks returns the networks over which the plugin can reach listeners of the
// host, the best first.
func (l *launch) brokerNetworks(answer *negotiation.Answer) []string {
	own := l.transports.IDs()
	chosen := answer.Transport
	if _, ok := processAs[Translator](l.child.Process); ok {
		// The host listens on a network of its own, which the runner translates.
		if l.transports.ByName(chosen.Name) == nil {
			chosen = transport.ID{}
		}
		return append(brokering.Networks(chosen, nil), brokering.Networks(transport.ID{}, own)...)
	}
	if len(answer.Transports) > 0 {
		own = slices.DeleteFunc(own, func(id transport.ID) bool { return !slices.Contains(answer.Transports, id) })
	}
	return brokering.Networks(chosen, own)
}

// listenFor returns a function that opens a listener for a plugin of another user. It gives
// the socket to that user. The socket lies in a directory of the host's, so the plugin
// cannot put anything else in its place.
func listenFor(uid int) func(open func() (net.Listener, error)) (net.Listener, error) {
	return func(open func() (net.Listener, error)) (net.Listener, error) {
		ln, err := open()
		if err != nil {
			return nil, err
		}
		if addr, ok := ln.Addr().(*net.UnixAddr); ok {
			if err := os.Lchown(addr.Name, uid, -1); err != nil {
				err = fmt.Errorf("the plugin runs as user %d, and the socket cannot be given to that user: put transport tcp first, with host.WithTransports and plugin.WithTransports: %w", uid, err)
				return nil, errors.Join(err, ln.Close())
			}
		}
		return ln, nil
	}
}

func (l *launch) newBroker(answer *negotiation.Answer) *brokering.Broker {
	cfg := brokering.Config{
		Side:           "host",
		Other:          l.other(),
		MaxMessageSize: l.maxMessageSize,
		Limits:         l.limits,
		Logger:         l.logger,
		OnPanic:        l.logPanic,
		UnaryServer:    l.unaryServer,
		StreamServer:   l.streamServer,
		ServerStats:    l.serverStats,
		UnaryClient:    l.unary,
		StreamClient:   l.stream,
		ClientStats:    l.clientStats,
		Stalled:        l.child.whyStopped,
		Exited:         l.child.exited,
	}
	if l.multiplexed != nil {
		cfg.Streams = l.multiplexed
		return brokering.New(cfg)
	}
	addresses := &brokering.Addresses{
		Transports:  l.transports,
		Networks:    l.brokerNetworks(answer),
		Listening:   transport.ListenConfig{Group: l.socketGroup, MinPort: l.minPort, MaxPort: l.maxPort, Logger: l.logger},
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
	return brokering.New(cfg)
}
