// Package ways has all transports of the end-to-end tests.
package ways

import (
	"fmt"

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

// Named returns a new value of one of them.
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
