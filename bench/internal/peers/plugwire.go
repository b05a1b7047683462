package peers

import (
	"context"
	"log/slog"

	"github.com/plugwire/plugwire/bench/internal/echopb"
	"github.com/plugwire/plugwire/bench/internal/grpcecho"
	bench "github.com/plugwire/plugwire/bench/internal/peers/protocol"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/examples/socketpair"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// wires are the wires that are measured: their names in the negotiation, and in the names
// of the peers.
var wires = []struct{ wire, name string }{
	{"h2", "h2"},
	{"pw/1", "pw"},
}

// Wires returns their names in those of the peers.
func Wires() []string {
	var names []string
	for _, w := range wires {
		names = append(names, w.name)
	}
	return names
}

// Plugwire returns the name of a peer.
func Plugwire(wire, transport string) string { return "plugwire-" + wire + "-" + transport }

// plugwire returns a peer for each wire and transport.
func plugwire() []*Peer {
	var all []*Peer
	for _, w := range wires {
		for _, way := range []struct {
			name, note string
			lossy      bool
			transport  func() transport.Transport
			opts       []host.Option
		}{
			{"unix", "its defaults over unix: the kernel keeps other users out", false, func() transport.Transport { return unix.New() }, nil},
			{"unix-mtls", "over unix with mutual TLS", false, func() transport.Transport { return unix.New() }, []host.Option{host.WithMutualTLS()}},
			{"tcp", "over tcp with mutual TLS", true, func() transport.Transport { return tcp.New() }, nil},
			{"quic", "over quic with mutual TLS", true, func() transport.Transport { return quic.New() }, nil},
			{"socketpair", "over a pair of sockets that the plugin inherits", false, func() transport.Transport { return socketpair.New() }, nil},
		} {
			all = append(all, &Peer{
				Name:   Plugwire(w.name, way.name),
				Plugin: "plugwire",
				Note:   "wire " + w.wire + ", " + way.note,
				Lossy:  way.lossy,
				start: func(ctx context.Context, at place) (*Session, error) {
					return startPlugwire(ctx, at, append([]host.Option{host.WithTransports(way.transport()), host.WithWire(w.wire)}, way.opts...))
				},
			})
		}
	}
	return all
}

func startPlugwire(ctx context.Context, at place, opts []host.Option) (*Session, error) {
	p, err := host.Launch(ctx, at.command(), append(opts,
		host.WithProtocols(bench.Echo),
		host.WithServices(protocol.Bind(bench.Echo, &grpcecho.Server{})), // for callbacks
		host.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		return nil, err
	}
	echo := echopb.NewEchoClient(p)
	s := grpcSession(echo, p.Info().PID, p.Close)
	s.Callback = grpcecho.Client{Echo: echo}.Callback
	return s, nil
}
