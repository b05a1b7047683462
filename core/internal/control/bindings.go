package control

import (
	"fmt"
	"slices"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/protocol"
)

// Application is bindings whose versions are not negotiated. The zero value serves
// nothing.
type Application struct {
	bindings []protocol.Binding
	versions []*protocol.Protocol // of the bindings, by their index
}

// RequiresServer reports whether services register themselves on a *grpc.Server
// (protocol.FromServer).
func (a Application) RequiresServer() bool {
	return slices.ContainsFunc(a.bindings, func(b protocol.Binding) bool {
		return slices.ContainsFunc(a.versions, b.RequiresServer)
	})
}

// Register adds the services to a server.
func (a Application) Register(r grpc.ServiceRegistrar) error {
	for i, b := range a.bindings {
		if err := b.Register(r, a.versions[i]); err != nil {
			return err
		}
	}
	return nil
}

// Unnegotiated checks bindings whose versions are not negotiated: each has one version
// of a protocol, and no service is bound twice.
func Unnegotiated(bindings []protocol.Binding) (Application, error) {
	taken := make(map[string]bool)
	versions := make([]*protocol.Protocol, len(bindings))
	for i, b := range bindings {
		family, err := b.Family()
		if err == nil && len(family) > 1 {
			err = fmt.Errorf("protocol %s has %d versions, and no version is negotiated here: bind one", family.Name(), len(family))
		}
		if err == nil {
			err = CheckFamily(family)
		}
		if err != nil {
			return Application{}, err
		}
		versions[i] = family[0]
		for _, name := range b.Services(family[0]) {
			if taken[name] {
				return Application{}, fmt.Errorf("service %s is bound twice", name)
			}
			taken[name] = true
		}
	}
	return Application{slices.Clone(bindings), versions}, nil
}
