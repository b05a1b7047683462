package hostcli

import (
	"fmt"
	"strings"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// transports returns all transports of a sample host, in the default order.
func transports() transport.Set {
	return transport.Set{unix.New(), quic.New(), tcp.New()}
}

// selectTransports returns the transports in list, separated by commas, in the
// order of list.
func selectTransports(list string) (transport.Set, error) {
	known := transports()
	var selected transport.Set
	for name := range strings.SplitSeq(list, ",") {
		t := known.ByName(name)
		switch {
		case t == nil:
			return nil, fmt.Errorf("unknown transport %q: the transports are %s", name, listOf(known))
		case selected.ByName(name) != nil:
			return nil, fmt.Errorf("duplicate transport %s: the transports are %s", name, listOf(known))
		}
		selected = append(selected, t)
	}
	return selected, nil
}

// listOf returns the list for which selectTransports returns set.
func listOf(set transport.Set) string {
	names := make([]string, len(set))
	for i, t := range set {
		names[i] = t.Name()
	}
	return strings.Join(names, ",")
}
