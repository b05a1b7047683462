// Package ways has all transports of the end-to-end tests.
package ways

import (
	"fmt"
	"strings"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/rpc"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/examples/socketpair"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// All returns a new value of each transport. Together they have every kind of
// session.
func All() []transport.Transport {
	return []transport.Transport{unix.New(), tcp.New(), quic.New(), socketpair.New()}
}

// Names are the names of All.
func Names() []string {
	var names []string
	for _, t := range All() {
		names = append(names, t.Name())
	}
	return names
}

// Wired are the names of All, each with each wire: "unix, h2" is one.
func Wired() []string {
	var names []string
	for _, name := range Names() {
		for _, wire := range rpc.Names() {
			names = append(names, name+separator+wire)
		}
	}
	return names
}

// separator is between the two parts of a name of Wired.
const separator = ", "

// Options returns a host's options for one of Wired. For one of Names, the wire is the one
// that host and plugin prefer.
func Options(name string) []host.Option {
	name, wire, ok := strings.Cut(name, separator)
	opts := []host.Option{host.WithTransports(Named(name))}
	if ok {
		opts = append(opts, host.WithWire(wire))
	}
	return opts
}

// Named returns a new value of one of Names.
func Named(name string) transport.Transport {
	for _, t := range All() {
		if t.Name() == name {
			return t
		}
	}
	panic(fmt.Sprintf("no transport is named %q", name))
}

// Parse returns the named transports: those of All, and "unix2" for unix with a
// second version.
func Parse(names []string) []transport.Transport {
	var ts []transport.Transport
	for _, name := range names {
		if name == "unix2" {
			ts = append(ts, &Unix2{})
		} else {
			ts = append(ts, Named(name))
		}
	}
	return ts
}
