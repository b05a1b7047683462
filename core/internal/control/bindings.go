package control

import (
	"fmt"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/protocol"
)

// Unnegotiated checks bindings that are served as they are: each has one version of
// a protocol, and no service comes twice. register adds them to a server.
func Unnegotiated(bindings []protocol.Binding) (register func(grpc.ServiceRegistrar), err error) {
	taken := make(map[string]bool)
	versions := make([]*protocol.Protocol, len(bindings))
	for i, b := range bindings {
		family, err := b.Family()
		if err == nil && len(family) > 1 {
			err = fmt.Errorf("protocol %s has %d versions, which are not negotiated here: bind one", family.Name(), len(family))
		}
		if err == nil {
			err = CheckFamily(family)
		}
		if err != nil {
			return nil, err
		}
		versions[i] = family[0]
		for _, name := range b.Services(family[0]) {
			if taken[name] {
				return nil, fmt.Errorf("service %s is bound twice", name)
			}
			taken[name] = true
		}
	}
	return func(r grpc.ServiceRegistrar) {
		for i, b := range bindings {
			b.Register(r, versions[i])
		}
	}, nil
}
