package host

import (
	"context"

	"github.com/plugwire/plugwire/core/internal/control"
	"github.com/plugwire/plugwire/core/protocol"
)

// Services returns the services that the plugin serves, without the framework's own. It
// asks the plugin, because a plugin may leave optional services unbound. Services of the
// chosen [Protocol] come first, with their methods. A plugin made with
// protocol.FromServer may serve others. They have a name, and a Descriptor if this
// program has generated code for them.
//
// A plugin on go-plugin is asked through gRPC's reflection (grpc.reflection.v1), and the
// error has codes.Unimplemented if it does not have that.
func (p *Plugin) Services(ctx context.Context) ([]protocol.Service, error) {
	names, err := control.ListServices(ctx, p, p.foreign)
	if err != nil {
		return nil, err
	}
	served := make(map[string]bool, len(names))
	for _, name := range names {
		served[name] = true
	}
	services := make([]protocol.Service, 0, len(names))
	for _, s := range p.protocol.Services() {
		if served[s.Name] {
			services = append(services, s)
			delete(served, s.Name)
		}
	}
	for _, name := range names {
		if served[name] {
			services = append(services, protocol.Service{Name: name})
		}
	}
	return services, nil
}
